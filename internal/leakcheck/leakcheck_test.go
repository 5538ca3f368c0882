package leakcheck_test

import (
	"strings"
	"testing"

	"github.com/tokensteward/tokensteward/internal/leakcheck"
)

func TestALeakIsFoundAndNamedWithoutTheValue(t *testing.T) {
	var values leakcheck.Values
	if values.Check(map[string]string{"the log": "anything"}) == nil {
		t.Error("a check of nothing passed")
	}
	values.Add("team-a/alice API_TOKEN", "s3cret")
	if err := values.Check(map[string]string{"the log": "issued a token"}); err != nil {
		t.Errorf("found a leak where there is none: %v", err)
	}
	for name, text := range map[string]string{"plain": "got s3cret here", "base64": `{"data":"czNjcmV0"}`} {
		err := values.Check(map[string]string{"the log": text})
		if err == nil {
			t.Errorf("%s: the leak was not found", name)
		} else if strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), "team-a/alice") {
			t.Errorf("%s: the error must name the Secret and not the value", name)
		}
	}
}
