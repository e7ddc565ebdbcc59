package catalog

import (
	"bytes"
	jsonv1 "encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
)

// The ways in which somebody may let a password out without having meant to.
func TestPasswordStaysSecret(t *testing.T) {
	const secret = "secret-Pa55"
	d := loading("a")
	hidden := struct{ inner Password }{NewPassword(secret)}
	for _, value := range []any{d.Destination.Redshift.Password, &d.Destination.Redshift.Password, *d.Destination.Redshift, d.Destination.Redshift, d, hidden, &hidden} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "% x", "%10s"} {
			if text := fmt.Sprintf(verb, value); leaks(text, secret) {
				t.Errorf("%T as %s is %s", value, verb, text)
			}
		}
		for name, marshal := range map[string]func() ([]byte, error){
			"JSON":         func() ([]byte, error) { return jsonv1.Marshal(value) },
			"the new JSON": func() ([]byte, error) { return json.Marshal(value) },
		} {
			if text, _ := marshal(); leaks(string(text), secret) { // some of the values have no JSON: all the better
				t.Errorf("%T as %s is %s", value, name, text)
			}
		}
		if text := logged(value); leaks(text, secret) {
			t.Errorf("%T is logged as %s", value, text)
		}
	}
	err := fmt.Errorf("wrapped %v: %w", d.Destination.Redshift.Password, fmt.Errorf("%s", d.Destination.Redshift.Password))
	if leaks(err.Error(), secret) {
		t.Errorf("an error is %s", err)
	}
}

func leaks(text, secret string) bool {
	return strings.Contains(strings.ToLower(text), strings.ToLower(secret)) ||
		strings.Contains(strings.ToLower(text), fmt.Sprintf("%x", secret))
}

func logged(value any) string {
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("text", "value", value)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("json", "value", value)
	return out.String()
}

func TestPasswordIsWhatItWasMadeOf(t *testing.T) {
	for _, plain := range []string{"", "secret-Pa55", `quo"te\ and ü`} {
		p := NewPassword(plain)
		if p.Plain() != plain || !p.Equal(NewPassword(plain)) || p.Equal(NewPassword(plain+".")) {
			t.Errorf("%q is %q", plain, p.Plain())
		}
		data, err := p.stored()
		var back Password
		if err != nil || json.Unmarshal(data, &back) != nil || back.Plain() != plain {
			t.Errorf("%q is stored as %s, %v, and read as %q", plain, data, err, back.Plain())
		}
	}
	if (Password{}).Plain() != "" {
		t.Error("no password is one")
	}
}

func TestPasswordThatIsNoneIsNotRepeated(t *testing.T) {
	for _, data := range []string{`{"x":"secret-Pa55"}`, `["secret-Pa55"]`, `55555`, `"\ud800secret-Pa55"`} {
		var p Password
		err := json.Unmarshal([]byte(data), &p)
		if err == nil || leaks(err.Error(), "secret-Pa55") || leaks(err.Error(), "55555") {
			t.Errorf("%s gives %v", data, err)
		}
	}
}
