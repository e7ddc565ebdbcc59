package redshift

import (
	"regexp"
	"strings"
)

// secrets are what may not appear in anything that the server said: it quotes statements, and credentials are in them.
type secrets []string

// leastSecret is the length below which a secret is not looked for: it would be found in words that mean nothing.
const leastSecret = 4

// scrub takes the secrets out of a server's words, and whatever looks like the credentials of a COPY.
func (s secrets) scrub(text string) string {
	for _, secret := range s {
		if len(secret) >= leastSecret {
			text = strings.ReplaceAll(text, secret, "***")
			text = strings.ReplaceAll(text, strings.ReplaceAll(secret, "'", "''"), "***")
		}
	}
	return credentialText().ReplaceAllString(text, "$1***")
}

// credentialText matches credentials in a statement, whole or cut off, up to what ends a string or an element of one.
func credentialText() *regexp.Regexp {
	return regexp.MustCompile(`(?i)((?:aws_access_key_id|aws_secret_access_key|access_key_id|secret_access_key|session_token|\btoken|\bpassword)(?:\s*=\s*'?|\s+'))[^\s;'"]+`)
}
