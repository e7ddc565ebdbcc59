// Package jdbcurl reads the address of a database as the API's ClusterJDBCURL has it, such as
// jdbc:redshift://example.abc123.us-west-2.redshift.amazonaws.com:5439/dev. Any host is accepted, also one of a plain
// PostgreSQL.
//
// Parameters may follow, as in ?ssl=true&sslmode=verify-full. Only those that say how the connection is encrypted are known.
// An unknown one is refused rather than passed over, because it may be one that its author relies on; so are user and
// password, because the address is shown to everybody who may describe the delivery stream.
package jdbcurl

import (
	"errors"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// SSLMode is how a connection is encrypted, in the words of PostgreSQL's clients.
type SSLMode string

// The modes there are. The two weaker ones that some clients have, allow and prefer, let whoever sits in between switch the
// encryption off, and are refused.
const (
	Disable    SSLMode = "disable"
	Require    SSLMode = "require"     // encrypted, whoever answers; what is meant if an address says nothing
	VerifyCA   SSLMode = "verify-ca"   // by a server with a certificate of an authority that is trusted
	VerifyFull SSLMode = "verify-full" // and for the host's name
)

// URL is an address.
type URL struct {
	Host     string
	Port     int
	Database string
	SSLMode  SSLMode
}

// ErrForm is that of an address that is none.
var ErrForm = errors.New("want jdbc:redshift://host:port/database or jdbc:postgresql://host:port/database")

var form = regexp.MustCompile(`^jdbc:(?:redshift|postgresql)://([A-Za-z0-9][A-Za-z0-9.-]*):(\d{1,5})/([a-zA-Z0-9_$-]+)(?:\?(.*))?$`)

// Parse reads an address. Its errors never repeat what they were given, which may hold a password.
func Parse(address string) (URL, error) {
	parts := form.FindStringSubmatch(address)
	if parts == nil {
		return URL{}, ErrForm
	}
	port, err := strconv.ParseUint(parts[2], 10, 16)
	if err != nil || port == 0 {
		return URL{}, errors.New("the port is not one of 1 to 65535")
	}
	mode, err := sslMode(parts[4])
	if err != nil {
		return URL{}, err
	}
	return URL{Host: parts[1], Port: int(port), Database: parts[3], SSLMode: mode}, nil
}

// Address is host:port.
func (u URL) Address() string { return net.JoinHostPort(u.Host, strconv.Itoa(u.Port)) }

// sslMode reads the parameters. Their names are written in any case, as the drivers take them.
func sslMode(query string) (SSLMode, error) {
	parameters, err := url.ParseQuery(query)
	if err != nil {
		return "", errors.New("the parameters cannot be read: want name=value, joined by '&'")
	}
	known := map[string]string{}
	for name, values := range parameters {
		name = strings.ToLower(name)
		if problem := parameterProblem(name); problem != "" {
			return "", errors.New(problem)
		}
		if _, twice := known[name]; twice || len(values) > 1 {
			return "", errors.New("a parameter is given more than once")
		}
		known[name] = values[0]
	}
	return modeOf(known)
}

func parameterProblem(name string) string {
	switch name {
	case "ssl", "sslmode":
		return ""
	case "user", "username", "uid", "password", "pwd":
		return "user and password do not belong into the address, which everybody is shown"
	}
	return "of the parameters only ssl and sslmode are supported"
}

// modeOf brings the two parameters together: ssl=true asks for no more than what is the default.
func modeOf(parameters map[string]string) (SSLMode, error) {
	ssl, switched := parameters["ssl"]
	mode, chosen := parameters["sslmode"]
	switch {
	case switched && ssl != "true" && ssl != "false":
		return "", errors.New("ssl is neither true nor false")
	case chosen && !slices.Contains([]SSLMode{Disable, Require, VerifyCA, VerifyFull}, SSLMode(mode)):
		return "", errors.New("sslmode is none of disable, require, verify-ca and verify-full")
	case chosen && switched && (ssl == "true") == (SSLMode(mode) == Disable):
		return "", errors.New("ssl and sslmode contradict each other")
	case chosen:
		return SSLMode(mode), nil
	case ssl == "false":
		return Disable, nil
	}
	return Require, nil
}
