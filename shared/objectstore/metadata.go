package objectstore

import "strings"

// mostMetadata bounds one value of an object's metadata: all of them together have 2 KB in S3.
const mostMetadata = 500

// MetadataText is a text that somebody else wrote as a value of an object's metadata, which travels as a header: its beginning, and
// whatever is not ASCII in it as '?'.
func MetadataText(text string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case r < ' ' || r > '~':
			return '?'
		}
		return r
	}, text)
	return strings.TrimSpace(clean[:min(len(clean), mostMetadata)])
}
