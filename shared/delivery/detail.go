package delivery

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What an error log entry repeats of a destination's words is bounded: it may answer anything.
const (
	mostDetail = 1000
	mostID     = 200 // of a request or a host
)

// cleaner makes what destinations and SDKs say fit to be shown to whoever reads logs. It can hold an address with a password
// in it, a signed one, or a header that a proxy repeats; none of that is kept. Records are never in it: nothing that
// delivers them puts them into an error.
type cleaner []*regexp.Regexp

// newCleaner returns one. Each expression matches a credential, and what stays of what is around it as its first and second groups.
func newCleaner() cleaner {
	return cleaner{
		// User and password in an address.
		regexp.MustCompile(`(://)[^/?#\s"'<>]*(@)`),
		// A presigned address, an Authorization header, a form or JSON.
		regexp.MustCompile(`(?i)((?:x-amz-(?:signature|credential|security-token)|signature|awsaccesskeyid|access_?token|session_?token|password|passwd|pwd|secret[a-z_-]*|authorization|webidentitytoken)["']?\s*[=:]\s*["']?(?:(?:bearer|basic|aws4-hmac-sha256)\s+)?)[^\s"'&,;<>]+`),
		// An element of XML.
		regexp.MustCompile(`(?i)(<(?:[a-z0-9]*token[a-z0-9-]*|secret[a-z]*|password|stringtosign|canonicalrequest)>)[^<]*`),
	}
}

func (c cleaner) detail(err error) string {
	if err == nil {
		return ""
	}
	return c.clean(err.Error(), mostDetail)
}

// clean makes outside text one printable line of at most that many bytes. It looks for credentials before it cuts, so that
// no half of one gets through.
func (c cleaner) clean(text string, most int) string {
	if len(text) > 4*most { // a flood
		text = text[:strings.LastIndexByte(text[:4*most], ' ')+1]
	}
	text = printable(text)
	for _, secret := range c {
		text = secret.ReplaceAllString(text, "${1}***${2}")
	}
	if len(text) <= most {
		return text
	}
	end := most - len("...")
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "..."
}

func printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
}
