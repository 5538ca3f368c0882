package installation

import (
	"testing"

	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

func kept(data map[string]string) client.Object {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "operator", Name: ConfigMapName}, Data: data}
}

func TestTheIDInUseIsNoted(t *testing.T) {
	for name, c := range map[string]struct {
		there  map[string]string
		chosen string
		want   string
		fails  bool
	}{
		"one that was kept":             {there: map[string]string{"id": "kept123"}, want: "kept123"},
		"one that was chosen":           {there: map[string]string{"id": "kept123"}, chosen: "chosen123", want: "chosen123"},
		"chosen no longer":              {there: map[string]string{"id": "kept123", "in-use": "chosen123"}, want: "kept123"},
		"chosen, and nothing was kept":  {chosen: "chosen123", want: "chosen123"},
		"none is valid":                 {there: map[string]string{"id": "!"}, fails: true},
		"chosen, and the kept is empty": {there: map[string]string{}, chosen: "chosen123", want: "chosen123"},
	} {
		t.Run(name, func(t *testing.T) {
			g := gomega.NewWithT(t)
			builder := fake.NewClientBuilder()
			if c.there != nil {
				builder.WithObjects(kept(c.there))
			}
			cluster := builder.Build()
			id, err := Establish(t.Context(), cluster, "operator", c.chosen)
			if c.fails {
				g.Expect(err).To(gomega.MatchError(gomega.ContainSubstring("holds no valid installation id")))
				_, err = Current(t.Context(), cluster, "operator")
				g.Expect(err).To(gomega.HaveOccurred())
				return
			}
			g.Expect(err).NotTo(gomega.HaveOccurred())
			g.Expect(id).To(gomega.Equal(c.want))
			g.Expect(Current(t.Context(), cluster, "operator")).To(gomega.Equal(c.want))
			after := kept(nil).(*corev1.ConfigMap)
			g.Expect(cluster.Get(t.Context(), client.ObjectKeyFromObject(after), after)).To(gomega.Succeed())
			if was := c.there["id"]; was != "" {
				g.Expect(after.Data["id"]).To(gomega.Equal(was), "what was kept stays")
			}
		})
	}
}

func TestOneIsMadeAndKept(t *testing.T) {
	g := gomega.NewWithT(t)
	cluster := fake.NewClientBuilder().Build()
	first, err := Establish(t.Context(), cluster, "operator", "")
	g.Expect(err).NotTo(gomega.HaveOccurred())
	g.Expect(Valid(first)).To(gomega.BeTrue())
	g.Expect(Establish(t.Context(), cluster, "operator", "")).To(gomega.Equal(first))
}
