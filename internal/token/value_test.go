package token_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/yaml"

	"github.com/tokensteward/tokensteward/internal/token"
)

const secret = "tsa_not-a-real-token"

func TestValueIsRedactedHoweverItIsWritten(t *testing.T) {
	type holder struct {
		Value   token.Value
		Pointer *token.Value
		private token.Value
	}
	value := token.NewValue(secret)
	h := holder{Value: value, Pointer: &value, private: value}

	written := map[string]string{}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p"} {
		written["value "+verb] = fmt.Sprintf(verb, value)
		written["pointer "+verb] = fmt.Sprintf(verb, &value)
		written["struct "+verb] = fmt.Sprintf(verb, h)
		written["slice "+verb] = fmt.Sprintf(verb, []token.Value{value})
		written["map "+verb] = fmt.Sprintf(verb, map[string]token.Value{"a": value})
	}
	written["Sprint"] = fmt.Sprint(value, &value, h)
	written["error"] = fmt.Errorf("minting %v: %w", value, errors.New("refused")).Error()
	for name, marshal := range map[string]func(any) ([]byte, error){
		"JSON": json.Marshal, "YAML": yaml.Marshal, "XML": func(any) ([]byte, error) { return xml.Marshal(value) },
	} {
		encoded, err := marshal(h)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		written[name] = string(encoded)
	}

	var lines bytes.Buffer
	funcr.New(func(prefix, args string) { lines.WriteString(prefix + args) }, funcr.Options{}).Info("minted", "value", value, "in", h)
	written["funcr"] = lines.String()
	for name, development := range map[string]bool{"zap console": true, "zap JSON": false} {
		var lines bytes.Buffer
		zap.New(zap.WriteTo(&lines), zap.UseDevMode(development)).Info("minted", "value", value, "pointer", &value, "in", h)
		written[name] = lines.String()
	}
	var slogLines bytes.Buffer
	slog.New(slog.NewJSONHandler(&slogLines, nil)).Info("minted", "value", value, "in", h)
	slog.New(slog.NewTextHandler(&slogLines, nil)).Info("minted", "value", value, "in", h)
	written["slog"] = slogLines.String()

	hexed := fmt.Sprintf("%x", secret)
	for how, text := range written {
		if strings.Contains(text, secret) || strings.Contains(strings.ToLower(text), hexed) {
			t.Errorf("%s gives the value away", how)
		}
		if text == "" {
			t.Errorf("%s wrote nothing, so it shows nothing", how)
		}
	}
}

func TestValueRevealsOnlyOnDemand(t *testing.T) {
	if got := token.NewValue(secret).Reveal(); got != secret {
		t.Error("Reveal does not give the value back")
	}
	if !(token.Value{}).IsEmpty() || token.NewValue(secret).IsEmpty() {
		t.Error("IsEmpty is wrong")
	}
	const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" // SHA-256 of "abc", FIPS 180-2
	if got := token.NewValue("abc").SHA256(); got != abc {
		t.Errorf("SHA256 of abc is %s", got)
	}
}

func TestValueIsDecodedFromJSON(t *testing.T) {
	var answer struct {
		Token   token.Value
		Pointer *token.Value
		Null    token.Value
		Absent  token.Value
	}
	encoded := fmt.Sprintf(`{"Token":%q,"Pointer":%q,"Null":null}`, secret, secret)
	if err := json.Unmarshal([]byte(encoded), &answer); err != nil {
		t.Fatal(err)
	}
	if answer.Token.Reveal() != secret || answer.Pointer.Reveal() != secret {
		t.Error("what was decoded is not the value that was encoded")
	}
	if !answer.Null.IsEmpty() || !answer.Absent.IsEmpty() {
		t.Error("there is a value where none was encoded")
	}
	again, err := json.Marshal(answer)
	if err != nil {
		t.Fatal(err)
	}
	for how, text := range map[string]string{"JSON": string(again), "%v": fmt.Sprintf("%v", answer), "%#v": fmt.Sprintf("%#v", answer)} {
		if strings.Contains(text, secret) {
			t.Errorf("%s gives away a value that was decoded", how)
		}
	}
	if err := json.Unmarshal([]byte(`{"Token":31415926}`), &answer); err == nil || strings.Contains(err.Error(), "31415926") {
		t.Error("a number is no value, and the error must not repeat it")
	}
}
