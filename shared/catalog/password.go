package catalog

import (
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/go-json-experiment/json"
)

// Password is a secret of a destination. It prints, and is written as JSON, as an empty string wherever it gets to; only the
// catalog's own documents hold it as it is.
type Password struct {
	// plain is behind a pointer because package fmt asks no method of what is in an unexported member of another structure:
	// it prints an address then.
	plain *string
}

var (
	_ fmt.Formatter  = Password{}
	_ slog.LogValuer = Password{}
)

// NewPassword returns plain as a Password.
func NewPassword(plain string) Password { return Password{&plain} }

// Plain is the password itself: for who logs in with it, and nobody else.
func (p Password) Plain() string {
	if p.plain == nil {
		return ""
	}
	return *p.plain
}

// Equal tells whether two passwords are the same.
func (p Password) Equal(other Password) bool { return p.Plain() == other.Plain() }

// Format prints the password as an empty string, whatever the verb.
func (p Password) Format(to fmt.State, verb rune) {
	if verb == 'q' || to.Flag('#') {
		_, _ = io.WriteString(to, `""`)
	}
}

// LogValue is the password in a log.
func (p Password) LogValue() slog.Value { return slog.StringValue("") }

// MarshalJSON is the password in any JSON but the catalog's.
func (p Password) MarshalJSON() ([]byte, error) { return []byte(`""`), nil }

// UnmarshalJSON reads a password as it is.
func (p *Password) UnmarshalJSON(data []byte) error {
	var plain string
	if err := json.Unmarshal(data, &plain); err != nil {
		return errors.New("password: want a string") // the cause may quote it
	}
	*p = NewPassword(plain)
	return nil
}

// stored is the password in the catalog's documents.
func (p Password) stored() ([]byte, error) { return json.Marshal(p.Plain()) }
