// Package token holds the type of a token's value.
package token

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
)

const redacted = "[redacted]"

// Value is the value of a token, or another credential. However it is printed, logged or encoded, it says
// "[redacted]"; only Reveal gives the value away, and only what writes a Secret or asks the service calls that.
// The zero Value is empty.
type Value struct {
	// A pointer, so that no printing by reflection reaches the characters.
	value *string
}

// NewValue wraps a value.
func NewValue(value string) Value { return Value{value: &value} }

// Reveal is the value itself.
func (v Value) Reveal() string {
	if v.value == nil {
		return ""
	}
	return *v.value
}

// IsEmpty says whether there is no value.
func (v Value) IsEmpty() bool { return v.Reveal() == "" }

// Sum is the value's SHA-256. A built-in token fits into the buffer, so that the authority allocates nothing.
func (v Value) Sum() [sha256.Size]byte {
	var buffer [64]byte
	return sha256.Sum256(append(buffer[:0], v.Reveal()...))
}

// SHA256 is the value's SHA-256 in lowercase hexadecimal: what status records of it.
func (v Value) SHA256() string { return SHA256([]byte(v.Reveal())) }

// SHA256 is the SHA-256 of a token in lowercase hexadecimal. It needs no salt: a token has 128 random bits or more.
func SHA256(value []byte) string {
	sum := sha256.Sum256(value)
	return hex.EncodeToString(sum[:])
}

// Format implements fmt.Formatter, for every verb.
func (Value) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// String implements fmt.Stringer.
func (Value) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (Value) GoString() string { return redacted }

// MarshalText implements encoding.TextMarshaler, which JSON, YAML and XML encoders use.
func (Value) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// UnmarshalText implements encoding.TextUnmarshaler, so that a service's answer is decoded right into a Value.
func (v *Value) UnmarshalText(text []byte) error {
	*v = NewValue(string(text))
	return nil
}

// MarshalLog implements logr.Marshaler.
func (Value) MarshalLog() any { return redacted }

// LogValue implements slog.LogValuer.
func (Value) LogValue() slog.Value { return slog.StringValue(redacted) }
