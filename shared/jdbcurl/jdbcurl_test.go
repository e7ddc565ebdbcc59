package jdbcurl_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"hydrant/shared/jdbcurl"
)

func TestParse(t *testing.T) {
	for address, want := range map[string]jdbcurl.URL{
		"jdbc:redshift://example.abc123.us-west-2.redshift.amazonaws.com:5439/dev": {"example.abc123.us-west-2.redshift.amazonaws.com", 5439, "dev", jdbcurl.Require},
		"jdbc:postgresql://localhost:5432/d_e-v$":                                  {"localhost", 5432, "d_e-v$", jdbcurl.Require},
		"jdbc:postgresql://127.0.0.1:00001/1":                                      {"127.0.0.1", 1, "1", jdbcurl.Require},
		"jdbc:redshift://h:65535/d?":                                               {"h", 65535, "d", jdbcurl.Require},
		"jdbc:redshift://h:1/d?ssl=true":                                           {"h", 1, "d", jdbcurl.Require},
		"jdbc:redshift://h:1/d?ssl=false":                                          {"h", 1, "d", jdbcurl.Disable},
		"jdbc:redshift://h:1/d?SSL=false&sslMode=disable":                          {"h", 1, "d", jdbcurl.Disable},
		"jdbc:redshift://h:1/d?sslmode=verify-ca":                                  {"h", 1, "d", jdbcurl.VerifyCA},
		"jdbc:redshift://h:1/d?ssl=true&sslmode=verify-full":                       {"h", 1, "d", jdbcurl.VerifyFull},
		"jdbc:redshift://h:1/d?sslmode=require":                                    {"h", 1, "d", jdbcurl.Require},
		"jdbc:redshift://h:1/d?ssl%6dode=dis%61ble":                                {"h", 1, "d", jdbcurl.Disable},
	} {
		got, err := jdbcurl.Parse(address)
		if err != nil || got != want {
			t.Errorf("%s is %+v, %v", address, got, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	const (
		port          = "the port is not one of 1 to 65535"
		user          = "user and password do not belong into the address, which everybody is shown"
		unknown       = "of the parameters only ssl and sslmode are supported"
		twice         = "a parameter is given more than once"
		unreadable    = "the parameters cannot be read: want name=value, joined by '&'"
		sslText       = "ssl is neither true nor false"
		modeText      = "sslmode is none of disable, require, verify-ca and verify-full"
		contradictory = "ssl and sslmode contradict each other"
	)
	form := jdbcurl.ErrForm.Error()
	for address, want := range map[string]string{
		"": form, "redshift://h:1/d": form, "jdbc:mysql://h:1/d": form, "jdbc:redshift:h:1/d": form, "jdbc:redshift://h/d": form,
		"jdbc:redshift://h:1": form, "jdbc:redshift://h:1/": form, "jdbc:redshift://:1/d": form, "jdbc:redshift://-h:1/d": form,
		"jdbc:redshift://u:p@h:1/d": form, "jdbc:redshift://h:1/d/e": form, "jdbc:redshift://h:1/d;ssl=true": form, "jdbc:redshift://h:1/d\n": form,
		"jdbc:redshift://h:123456/d": form, "jdbc:redshift://[::1]:1/d": form, "xjdbc:redshift://h:1/d": form, "jdbc:redshift://h:1/d?ssl=true\n": form,
		"jdbc:redshift://h:0/d":                             port,
		"jdbc:redshift://h:65536/d":                         port,
		"jdbc:redshift://h:1/d?user=u":                      user,
		"jdbc:redshift://h:1/d?PWD=p":                       user,
		"jdbc:redshift://h:1/d?sslrootcert=/etc/x":          unknown,
		"jdbc:redshift://h:1/d?=":                           unknown,
		"jdbc:redshift://h:1/d?ssl=true&ssl=true":           twice,
		"jdbc:redshift://h:1/d?ssl=true&SSL=true":           twice,
		"jdbc:redshift://h:1/d?ssl=%zz":                     unreadable,
		"jdbc:redshift://h:1/d?ssl=true;sslmode=disable":    unreadable,
		"jdbc:redshift://h:1/d?ssl":                         sslText,
		"jdbc:redshift://h:1/d?ssl=TRUE":                    sslText,
		"jdbc:redshift://h:1/d?sslmode=prefer":              modeText,
		"jdbc:redshift://h:1/d?sslmode=":                    modeText,
		"jdbc:redshift://h:1/d?ssl=true&sslmode=disable":    contradictory,
		"jdbc:redshift://h:1/d?sslmode=verify-ca&ssl=false": contradictory,
	} {
		got, err := jdbcurl.Parse(address)
		if err == nil || err.Error() != want || got != (jdbcurl.URL{}) || errors.Is(err, jdbcurl.ErrForm) != (want == form) {
			t.Errorf("%q is %+v, %v, want %s", address, got, err, want)
		}
	}
}

func TestAddress(t *testing.T) {
	if got := (jdbcurl.URL{Host: "h.example.com", Port: 5439, Database: "d"}).Address(); got != "h.example.com:5439" {
		t.Errorf("got %s", got)
	}
}

// FuzzParse shows that what is taken can be written anew and is then the same, and that no error repeats what was given.
func FuzzParse(f *testing.F) {
	for _, address := range []string{
		"jdbc:redshift://example.com:5439/dev", "jdbc:postgresql://h:1/d?ssl=true&sslmode=require", "jdbc:redshift://h:1/d?password=SECRETS",
		"jdbc:redshift://SECRETS:1/d?sslmode=SECRETS", "jdbc:redshift://h:99999/d", "jdbc:redshift://h:1/d?%", "jdbc:SECRETS",
	} {
		f.Add(address)
	}
	f.Fuzz(func(t *testing.T, address string) {
		u, err := jdbcurl.Parse(address)
		if err != nil {
			if u != (jdbcurl.URL{}) || strings.Contains(err.Error(), "SECRETS") {
				t.Fatalf("%q gives %+v, %v", address, u, err)
			}
			return
		}
		if u.Host == "" || u.Database == "" || u.Port < 1 || u.Port > 65535 || strings.ContainsAny(u.Host+u.Database, " /?:@'\"\x00") {
			t.Fatalf("%q is %+v", address, u)
		}
		anew := "jdbc:redshift://" + u.Host + ":" + strconv.Itoa(u.Port) + "/" + u.Database + "?sslmode=" + string(u.SSLMode)
		if again, err := jdbcurl.Parse(anew); err != nil || again != u {
			t.Fatalf("%q is %+v, written anew as %q %+v, %v", address, u, anew, again, err)
		}
	})
}
