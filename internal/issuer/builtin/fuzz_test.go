package builtin

import (
	"hash/crc32"
	"regexp"
	"testing"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

var form = regexp.MustCompile(`^ts([ap])_[0-9A-Za-z]{43}([0-9A-Za-z]{6})$`)

// Whatever is presented is told from a token of ours by its form and its checksum alone, and any change of one character, or
// of its kind, makes it another.
func FuzzATokenIsWellFormedOnlyAsItWasMade(f *testing.F) {
	for _, kind := range []string{v1alpha1.KindAccountToken, v1alpha1.KindProjectToken} {
		value, err := newValue(kind)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(value.Reveal(), uint8(7), byte('x'))
		f.Add(value.Reveal()[:valueLength-checksumLength], uint8(0), byte(0))
	}
	f.Add("", uint8(0), byte(0))
	f.Add("tsa_0000000000000000000000000000000000000000000\xff\xff\xff\xff\xff\xff", uint8(52), byte('0'))
	f.Fuzz(func(t *testing.T, text string, position uint8, other byte) {
		wantTold(t, text)
		if len(text) < valueLength-checksumLength {
			return
		}
		// The same, with the checksum that it should have.
		body := text[:valueLength-checksumLength]
		made := body + sumOf(body)
		wantTold(t, made)
		_, wellFormed := KindOf(made)
		if wellFormed != form.MatchString(made) {
			t.Error("the checksum is not the one that it should have")
		}
		changed := []byte(made)
		at := int(position) % len(changed)
		if changed[at] == other {
			return
		}
		changed[at] = other
		if _, ok := KindOf(string(changed)); ok && wellFormed {
			t.Errorf("a change of character %d was not noticed", at)
		}
	})
}

// wantTold holds KindOf to another way to find out the same.
func wantTold(t *testing.T, text string) {
	t.Helper()
	want := ""
	if parts := form.FindStringSubmatch(text); parts != nil && sumOf(text[:len(text)-len(parts[2])]) == parts[2] {
		want = map[string]string{"a": v1alpha1.KindAccountToken, "p": v1alpha1.KindProjectToken}[parts[1]]
	}
	kind, wellFormed := KindOf(text)
	if wellFormed != (want != "") || wellFormed && kind != want {
		t.Errorf("a text of %d characters is taken for %q, well-formed %t, want %q", len(text), kind, wellFormed, want)
	}
}

// sumOf is the checksum of a token without one.
func sumOf(body string) string {
	sum := crc32.ChecksumIEEE([]byte(body))
	digits := make([]byte, 6)
	for i := range digits {
		digits[len(digits)-1-i] = base62[sum%62]
		sum /= 62
	}
	return string(digits)
}
