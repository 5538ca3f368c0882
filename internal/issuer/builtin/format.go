package builtin

import (
	"crypto/rand"
	"fmt"
	"hash/crc32"
	"math/big"
	"strings"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/token"
)

// A built-in token is a prefix that tells its kind, 256 random bits as 43 base62 characters, and the CRC-32 of all
// that as 6 more: secret scanners recognise one, and a typo costs no lookup. docs/authority.md, The token.
const (
	accountPrefix  = "tsa_"
	projectPrefix  = "tsp_"
	randomBytes    = 32
	randomLength   = 43
	checksumLength = 6
	valueLength    = len(accountPrefix) + randomLength + checksumLength
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

func newValue(kind string) (token.Value, error) {
	prefix, err := prefixOf(kind)
	if err != nil {
		return token.Value{}, err
	}
	var random [randomBytes]byte
	// Never fails: the Go runtime ends the process rather than give out bad randomness.
	_, _ = rand.Read(random[:])
	body := prefix + encode(new(big.Int).SetBytes(random[:]), randomLength)
	sum := checksum(body)
	return token.NewValue(body + string(sum[:])), nil
}

func prefixOf(kind string) (string, error) {
	switch kind {
	case v1alpha1.KindAccountToken:
		return accountPrefix, nil
	case v1alpha1.KindProjectToken:
		return projectPrefix, nil
	default:
		return "", fmt.Errorf("the built-in issuer has no tokens of kind %q", kind)
	}
}

// KindOf is the kind of resource that a well-formed built-in token belongs to, and whether it is well-formed at all.
func KindOf(value string) (kind string, wellFormed bool) {
	switch {
	case len(value) != valueLength:
		return "", false
	case strings.HasPrefix(value, accountPrefix):
		kind = v1alpha1.KindAccountToken
	case strings.HasPrefix(value, projectPrefix):
		kind = v1alpha1.KindProjectToken
	default:
		return "", false
	}
	body, sum := value[:valueLength-checksumLength], value[valueLength-checksumLength:]
	for i := len(accountPrefix); i < len(body); i++ {
		if strings.IndexByte(base62, body[i]) < 0 {
			return "", false
		}
	}
	digits := checksum(body)
	return kind, string(digits[:]) == sum
}

// checksum is the CRC-32 of a body, in base 62. The authority asks for it at every request, so nothing is allocated.
func checksum(body string) (digits [checksumLength]byte) {
	rest := ^uint32(0)
	for i := range len(body) { // crc32.ChecksumIEEE wants a copy of the body.
		rest = crc32.IEEETable[(rest^uint32(body[i]))&0xff] ^ rest>>8
	}
	rest = ^rest
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] = base62[rest%uint32(len(base62))]
		rest /= uint32(len(base62))
	}
	return digits
}

func encode(number *big.Int, length int) string {
	digits := make([]byte, length)
	base, digit := big.NewInt(int64(len(base62))), new(big.Int)
	for i := length - 1; i >= 0; i-- {
		number.DivMod(number, base, digit)
		digits[i] = base62[digit.Int64()]
	}
	return string(digits)
}
