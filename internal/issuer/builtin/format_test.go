package builtin

import (
	"math/big"
	"testing"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

func TestEveryNewValueIsWellFormedAndTellsItsKind(t *testing.T) {
	seen := map[string]bool{}
	for _, kind := range []string{v1alpha1.KindAccountToken, v1alpha1.KindProjectToken} {
		for range 200 {
			value, err := newValue(kind)
			if err != nil {
				t.Fatal(err)
			}
			if got, ok := KindOf(value.Reveal()); !ok || got != kind {
				t.Fatalf("a new %s is taken for %q, well-formed %v", kind, got, ok)
			}
			if seen[value.Reveal()] {
				t.Fatal("the same value came twice")
			}
			seen[value.Reveal()] = true
		}
	}
	if _, err := newValue("Secret"); err == nil {
		t.Error("a kind without tokens got one")
	}
}

func TestEveryTypoIsNoticed(t *testing.T) {
	value, err := newValue(v1alpha1.KindAccountToken)
	if err != nil {
		t.Fatal(err)
	}
	good := value.Reveal()
	for i := range good {
		typo := []byte(good)
		typo[i] = base62[(int(typo[i])+1)%len(base62)]
		if string(typo) == good {
			continue
		}
		if _, ok := KindOf(string(typo)); ok {
			t.Errorf("a typo in character %d was not noticed", i)
		}
	}
	for name, bad := range map[string]string{
		"empty": "", "too short": good[:len(good)-1], "too long": good + "0", "a blank": good[:20] + " " + good[21:],
		"another prefix": "ghp_" + good[4:],
	} {
		if _, ok := KindOf(bad); ok {
			t.Errorf("%s is taken for well-formed", name)
		}
	}
}

func TestEncodeKeepsAll256Bits(t *testing.T) {
	largest := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 8*randomBytes), big.NewInt(1))
	number := new(big.Int).Set(largest)
	digits := encode(number, randomLength)
	if number.Sign() != 0 {
		t.Fatalf("%d characters are too few for %d bytes", randomLength, randomBytes)
	}
	back := new(big.Int)
	for i := range digits {
		digit := int64(0)
		for base62[digit] != digits[i] {
			digit++
		}
		back.Add(back.Mul(back, big.NewInt(62)), big.NewInt(digit))
	}
	if back.Cmp(largest) != 0 {
		t.Error("the digits stand for another number")
	}
}
