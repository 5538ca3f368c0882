// Visitor is what runs in the pods of this package's test: it says what is in an environment variable and what it finds
// at some addresses, and serves the same variable at :8080. With "once" before one address, it does nothing else.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

const account = "/var/run/secrets/kubernetes.io/serviceaccount/"

func main() {
	if len(os.Args) == 3 && os.Args[1] == "once" {
		fmt.Println(visit(os.Args[2]))
		return
	}
	fmt.Println("GREETING is", os.Getenv("GREETING"))
	go func() {
		panic(http.ListenAndServe(":8080", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, os.Getenv("GREETING"))
		})))
	}()
	for _, url := range os.Args[1:] {
		for {
			answer, err := visit(url)
			if err == nil {
				fmt.Println(url, "answers", answer)
				break
			}
			fmt.Println("not yet:", err)
			time.Sleep(200 * time.Millisecond)
		}
	}
	fmt.Println("done")
	select {}
}

func visit(url string) (string, error) {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	client := &http.Client{Timeout: 2 * time.Second}
	if strings.HasPrefix(url, "https:") { // The API server.
		token, err := os.ReadFile(account + "token")
		if err != nil {
			return "", err
		}
		ca, err := os.ReadFile(account + "ca.crt")
		if err != nil {
			return "", err
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(ca)
		client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
		request.Header.Set("Authorization", "Bearer "+string(token))
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response.Status + " " + strings.TrimSpace(string(body)), err
}
