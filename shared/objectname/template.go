package objectname

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	defaultFolder = "yyyy/MM/dd/HH/"
	randomLength  = 11
	// longestErrorType has room for the longest that Firehose knows, AmazonOpenSearchService-failed.
	longestErrorType = 32
)

// Template is a prefix that can be evaluated. The zero value evaluates to nothing.
type Template struct {
	field       Field
	pieces      []piece
	expressions bool
}

// piece is a part of a template: text, or what makes text.
type piece struct {
	text  string
	write func(to []byte, e *evaluation) []byte // nil: text
	most  int                                   // characters that it becomes
	typed bool                                  // it becomes the type of the error, which is all that it depends on
}

// Values are what a template is evaluated with.
type Values struct {
	At   time.Time      // the arrival of the oldest record
	Zone *time.Location // nil is UTC
	// Seed is what makes the random strings: the same seed makes the same strings, in their order.
	Seed []byte
	// ErrorType is what !{firehose:error-output-type} becomes, such as processing-failed; at most 32 bytes.
	ErrorType string
}

// evaluation is one evaluation as it goes on.
type evaluation struct {
	Values
	local   time.Time // At, in the zone
	randoms int       // random strings made so far
}

// Parse returns the template of a prefix as it is set in a field: Prefix, or ErrorOutputPrefix if that is not empty. Its errors
// are for clients, see Check.
func Parse(field Field, prefix string) (Template, error) {
	t, err := parse(field, prefix)
	if err != nil || t.expressions {
		return t, err
	}
	return t.withDefaultFolder(), nil
}

// ParseError returns the template for failed records. For an ErrorOutputPrefix that is not set, AWS documents ("Custom prefixes for
// Amazon S3 objects", semantic rules) <specified prefix><error-output-type>YYYY/MM/DD/HH/; the example there, and the keys that
// Firehose writes, have a slash after the type. For one that is set and has no expressions it documents nothing. That is done
// likewise, with ErrorOutputPrefix for Prefix: without the type, failures of different kinds could not be told apart.
func ParseError(prefix, errorOutputPrefix string) (Template, error) {
	base, err := parse(Prefix, prefix)
	if err != nil {
		return Template{}, err
	}
	if errorOutputPrefix == "" && base.expressions {
		return Template{}, refused("ErrorOutputPrefix cannot be null or empty when Prefix contains expressions")
	}
	if errorOutputPrefix != "" {
		if base, err = parse(ErrorOutputPrefix, errorOutputPrefix); err != nil || base.expressions {
			return base, err
		}
	}
	base.field = ErrorOutputPrefix
	base.pieces = append(base.pieces, errorType(), literal("/"))
	return base.withDefaultFolder(), nil
}

func (t Template) withDefaultFolder() Template {
	pieces, _ := compile(defaultFolder) // a constant that compiles
	t.pieces = append(t.pieces, pieces...)
	return t
}

// parse reads a prefix, and nothing is added to it.
func parse(field Field, prefix string) (Template, error) {
	t := Template{field: field}
	if !utf8.ValidString(prefix) {
		return t, refused("%s must be valid UTF-8", field)
	}
	typed := false
	for rest := prefix; rest != ""; {
		text, expression, found := strings.Cut(rest, "!{")
		if text != "" {
			t.pieces = append(t.pieces, literal(text))
		}
		if !found {
			break
		}
		t.expressions = true
		inside, after, closed := strings.Cut(expression, "}")
		namespace, value, colon := strings.Cut(inside, ":")
		if !closed || !colon || namespace == "" || value == "" || strings.Contains(inside, "!{") {
			return t, refused("Invalid expression usage in %s at %q: write !{namespace:value}, such as !{timestamp:yyyy/MM/dd}", field, excerpt("!{"+expression))
		}
		pieces, err := expressionPieces(field, namespace, value)
		if err != nil {
			return t, err
		}
		typed = typed || namespace == "firehose" && value == "error-output-type"
		t.pieces = append(t.pieces, pieces...)
		rest = after
	}
	if field == ErrorOutputPrefix && t.expressions && !typed {
		return t, refused("ErrorOutputPrefix must contain at least one occurrence of !{firehose:error-output-type}")
	}
	return t, nil
}

// excerpt is the beginning of a text that a message quotes.
func excerpt(text string) string {
	const most = 60
	count := 0
	for i := range text {
		if count++; count > most {
			return text[:i] + "…"
		}
	}
	return text
}

func expressionPieces(field Field, namespace, value string) ([]piece, error) {
	switch namespace {
	case "timestamp":
		pieces, err := compile(value)
		if err != nil {
			return nil, refused("Invalid conversion character used in the value of the expression in %s: !{timestamp:%s} %w", field, excerpt(value), err)
		}
		return pieces, nil
	case "firehose":
		return firehosePieces(field, value)
	case "partitionKeyFromQuery", "partitionKeyFromLambda":
		if field == ErrorOutputPrefix {
			return nil, refused("Dynamic Partitioning Namespaces can't be part of an error prefix expression: remove !{%s:%s}", namespace, excerpt(value))
		}
		return nil, refused("dynamic partitioning is not built yet: remove !{%s:%s} from Prefix", namespace, excerpt(value))
	}
	return nil, refused("Namespace to the left of colon (%s) is an invalid keyword! Use timestamp or firehose in %s", excerpt(namespace), field)
}

func firehosePieces(field Field, value string) ([]piece, error) {
	switch value {
	case "random-string":
		return []piece{{write: writeRandom, most: randomLength}}, nil
	case "error-output-type":
		if field == Prefix {
			return nil, refused("Prefix must not contain any occurrence of !{firehose:error-output-type}")
		}
		return []piece{errorType()}, nil
	}
	return nil, refused("Invalid conversion character used in the value of the expression in %s: !{firehose:%s} is not one of !{firehose:random-string} and !{firehose:error-output-type}", field, excerpt(value))
}

func errorType() piece {
	return piece{
		write: func(to []byte, e *evaluation) []byte { return append(to, e.ErrorType...) },
		most:  longestErrorType,
		typed: true,
	}
}

// writeRandom writes the next random string. Its use is counted, so that two in one prefix differ.
func writeRandom(to []byte, e *evaluation) []byte {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	e.randoms++
	sum := sha256.Sum256(binary.BigEndian.AppendUint32(append([]byte("random-string\x00"), e.Seed...), uint32(e.randoms)))
	for _, b := range sum[:randomLength] {
		to = append(to, digits[int(b)%len(digits)]) // a slight bias does no harm, these are not secrets
	}
	return to
}

// HasExpressions tells whether the prefix has any.
func (t Template) HasExpressions() bool { return t.expressions }

// Evaluate returns what goes before an object's own name.
func (t Template) Evaluate(v Values) string {
	e := &evaluation{Values: v, local: v.At.In(zoneOr(v.Zone))}
	var out []byte
	for _, p := range t.pieces {
		if p.write == nil {
			out = append(out, p.text...)
		} else {
			out = p.write(out, e)
		}
	}
	return string(out)
}

// Common is the text that what the template evaluates to begins with, whatever the values, but for the type of the error.
func (t Template) Common(errorType string) string {
	var out strings.Builder
	for _, p := range t.pieces {
		switch {
		case p.typed:
			out.WriteString(errorType)
		case p.write == nil:
			out.WriteString(p.text)
		default:
			return out.String()
		}
	}
	return out.String()
}

// sketch is what the template becomes, with an x where that depends on the values: none of them has control characters
// or dots but those that the template has, and a slash only within the name of a zone.
func (t Template) sketch() string {
	var out strings.Builder
	for _, p := range t.pieces {
		if p.write == nil {
			out.WriteString(p.text)
		} else {
			out.WriteString("x")
		}
	}
	return out.String()
}

// matchSegment returns the first folder of a key that means another to a file system, or nothing.
func matchSegment(text string) string {
	folders := strings.Split(text, "/")
	for _, folder := range folders[:len(folders)-1] {
		if folder == "." || folder == ".." {
			return folder
		}
	}
	return ""
}
