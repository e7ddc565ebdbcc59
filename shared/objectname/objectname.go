// Package objectname evaluates the names of objects in S3 as a delivery stream's settings ask for them, and tells whether
// settings can be evaluated.
//
// An object is named
//
//	<evaluated prefix><delivery stream>-<version>-yyyy-MM-dd-HH-mm-ss-<uuid><extension>
//
// A prefix is text with expressions !{namespace:value} in it:
//
//	!{timestamp:PATTERN}            the instant, by a pattern of Java's DateTimeFormatter; pattern.go says which
//	!{firehose:random-string}       11 letters and digits, others at each use
//	!{firehose:error-output-type}   why records failed; in an ErrorOutputPrefix only
//
// A prefix without any expression gets yyyy/MM/dd/HH/ behind it, with nothing between. A prefix with one gets nothing.
// All times in a name are one instant in one zone.
//
// What is guaranteed: evaluation is a function of its arguments, so every attempt to deliver a batch means the same object.
// The random strings are a hash of what the caller gives. It never fails: whatever Parse accepts can be evaluated at any
// instant that fits time.Time.UnixNano. What Check accepts makes a key that S3 takes: at most 1024 bytes, valid UTF-8.
//
// The zone data is in the program. Two versions of it that have different data about an instant, which must then be of a zone
// whose rules were changed, name a batch of that instant differently.
//
// How an expression is read, where the documentation of Firehose is silent: the first } ends it, also between quotes. A ! not
// followed by { is text, and so are { and } elsewhere; !!{timestamp:yyyy} is a ! and an expression. A !{ inside an expression is
// refused, since the sequence may appear nowhere but at an expression's beginning.
//
// Keys are not cleaned: a leading / and // stay, as they do on S3. A store that keeps objects as files folds such names into
// shorter ones. That loses nothing, since an object's own name ends with the UUID of its batch. It also refuses what no file
// can be called, more than 255 bytes between two slashes: then the batch waits, as for any setting that is wrong, until the
// setting is corrected. Check refuses what S3's own documentation warns of and clients cannot ask for: control characters, and
// the folders "." and "..".
package objectname

import (
	"fmt"
	"regexp"
	"unicode/utf8"
)

// Field is the setting that a prefix is given in.
type Field string

// The fields that a prefix is given in.
const (
	Prefix            Field = "Prefix"
	ErrorOutputPrefix Field = "ErrorOutputPrefix"
)

const (
	// maxEvaluated is Firehose's limit of an evaluated prefix, in characters.
	maxEvaluated = 512
	// maxEvaluatedBytes leaves room in the 1024 bytes of a key for an object's own name with the longest extension (up to 260
	// bytes), and for the error output type where a prefix stands in for a missing ErrorOutputPrefix.
	maxEvaluatedBytes = 700
	maxExtension      = 128
	maxZone           = 50
)

// Settings are the members of an S3 destination that decide about names. An empty one is one that is not set.
type Settings struct {
	Prefix            string
	ErrorOutputPrefix string
	FileExtension     string
	CustomTimeZone    string
}

// Check returns what is wrong with settings that are to be stored. The error's text is for the client: it is the message of
// an InvalidArgumentException, in AWS's words where those are known, and says what to do. Parse, ParseError and Zone accept
// all that Check does and more: what Check alone refuses may have been stored before, and is still evaluated.
func Check(s Settings) error {
	if _, err := Zone(s.CustomTimeZone); err != nil {
		return err
	}
	if err := checkExtension(s.FileExtension); err != nil {
		return err
	}
	prefix, err := Parse(Prefix, s.Prefix)
	if err != nil {
		return err
	}
	failed, err := ParseError(s.Prefix, s.ErrorOutputPrefix)
	if err != nil {
		return err
	}
	if err := prefix.check(); err != nil {
		return err
	}
	if s.ErrorOutputPrefix == "" {
		return nil // made of the prefix, which is checked
	}
	return failed.check()
}

func checkExtension(extension string) error {
	if len(extension) > maxExtension || !matches(`^$|\.[0-9a-z!\-_.*'()]+`, extension) {
		return fmt.Errorf("FileExtension must begin with a dot, followed by at most %d of 0-9, a-z and !-_.*'()", maxExtension-1)
	}
	return nil
}

func matches(pattern, text string) bool {
	return regexp.MustCompile(`\A(?:` + pattern + `)\z`).MatchString(text)
}

// refused is a violation of the rules of prefixes. The sentence before the colon is AWS's, as it is.
func refused(format string, args ...any) error {
	return fmt.Errorf("Ths supplied prefix(es) do not satisfy the following constraint: "+format, args...) //nolint:staticcheck,revive // a client's message
}

// check finds what is wrong with the text that a prefix becomes, whenever it is evaluated.
func (t Template) check() error {
	characters, bytes := t.longest()
	if characters > maxEvaluated {
		return refused("Length of evaluated %s cannot be greater than %d. This one may become %d characters long: shorten it",
			t.inAWSWords(), maxEvaluated, characters)
	}
	if bytes > maxEvaluatedBytes {
		return refused("an evaluated %s cannot be longer than %d bytes in UTF-8. This one may become %d: shorten it", t.field, maxEvaluatedBytes, bytes)
	}
	return checkText(t.field, t.sketch())
}

// inAWSWords is what AWS calls the field where it speaks of its length.
func (t Template) inAWSWords() string {
	if t.field == Prefix {
		return "prefix"
	}
	return string(t.field)
}

// checkText refuses text that some stores cannot keep as a key.
func checkText(field Field, text string) error {
	for _, r := range text {
		if r < ' ' || r == 0x7f {
			return refused("%s cannot contain control characters: remove %U", field, r)
		}
	}
	if segment := matchSegment(text); segment != "" {
		return refused("%s cannot contain the folder %q: rename or remove it", field, segment)
	}
	return nil
}

// longest returns the most characters and the most bytes that the template can become.
func (t Template) longest() (characters, bytes int) {
	for _, p := range t.pieces {
		characters += p.most
		bytes += max(p.most, len(p.text))
	}
	return characters, bytes
}

func literal(text string) piece {
	return piece{text: text, most: utf8.RuneCountInString(text)}
}
