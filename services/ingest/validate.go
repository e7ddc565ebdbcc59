package ingest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/firehose"

	"hydrant/shared/record"
)

// Patterns of the API's model. They match the whole of a value.
const (
	namePattern   = `[a-zA-Z0-9_.-]+`
	bucketPattern = `arn:.*:s3:::[\w\.\-]{1,255}`
	rolePattern   = `arn:.*:iam::\d{12}:role/[a-zA-Z_0-9+=,.@\-_/]+`
	destPattern   = `[a-zA-Z0-9-]+`
	numberPattern = `[0-9]+`
	logPattern    = `[^:*]*`
)

// mostListed is how many violations of one request are spelled out.
const mostListed = 20

// violations collects what is wrong with a request, for one ValidationException.
type violations struct {
	count  int
	listed []string
}

func (v *violations) add(path, format string, args ...any) {
	v.count++
	if v.count <= mostListed {
		v.listed = append(v.listed, fmt.Sprintf("Value at '%s' failed to satisfy constraint: Member must %s", path, fmt.Sprintf(format, args...)))
	}
}

func (v *violations) missing(path string) { v.add(path, "not be null") }

// err returns the exception, or nil when nothing is wrong.
func (v *violations) err() error {
	if v.count == 0 {
		return nil
	}
	noun := "errors"
	if v.count == 1 {
		noun = "error"
	}
	return refusal(codeValidation, "%d validation %s detected: %s", v.count, noun, strings.Join(v.listed, "; "))
}

// text checks a string that may be missing. Lengths count characters; an empty pattern is none.
func (v *violations) text(path string, value *string, least, most int, pattern string) {
	if value == nil {
		return
	}
	if n := utf8.RuneCountInString(*value); n < least {
		v.add(path, "have length greater than or equal to %d", least)
	} else if n > most {
		v.add(path, "have length less than or equal to %d", most)
	}
	if pattern != "" && !matches(pattern, *value) {
		v.add(path, "satisfy regular expression pattern: %s", pattern)
	}
}

func (v *violations) requiredText(path string, value *string, least, most int, pattern string) {
	if value == nil {
		v.missing(path)
	}
	v.text(path, value, least, most, pattern)
}

// matches compiles the pattern each time, which costs a control-plane call some microseconds.
func matches(pattern, value string) bool {
	return regexp.MustCompile(`\A(?:` + pattern + `)\z`).MatchString(value)
}

func (v *violations) number(path string, value *int32, least, most int32) {
	switch {
	case value == nil:
	case *value < least:
		v.add(path, "have value greater than or equal to %d", least)
	case *value > most:
		v.add(path, "have value less than or equal to %d", most)
	}
}

// enum checks a value that may be missing, which is the empty one.
func enum[E ~string](v *violations, path string, value E, known []E) {
	if value != "" && !slices.Contains(known, value) {
		v.add(path, "satisfy enum value set: %v", joined(known))
	}
}

func joined[E ~string](values []E) string {
	texts := make([]string, len(values))
	for i, value := range values {
		texts[i] = string(value)
	}
	return "[" + strings.Join(texts, ", ") + "]"
}

func (v *violations) streamName(name *string) {
	if name != nil && plainName(*name) {
		return
	}
	v.requiredText("deliveryStreamName", name, 1, 64, namePattern)
}

// plainName is namePattern and its lengths, for the calls that come thousands of times a second.
func plainName(name string) bool {
	for i := range len(name) {
		c := name[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && c != '_' && c != '.' && c != '-' {
			return false
		}
	}
	return len(name) >= 1 && len(name) <= 64
}

func checkDescribe(in *firehose.DescribeDeliveryStreamInput) error {
	var v violations
	v.streamName(in.DeliveryStreamName)
	v.text("exclusiveStartDestinationId", in.ExclusiveStartDestinationId, 1, 100, destPattern)
	v.number("limit", in.Limit, 1, 10000)
	return v.err()
}

func checkList(in *firehose.ListDeliveryStreamsInput) error {
	var v violations
	enum(&v, "deliveryStreamType", in.DeliveryStreamType, in.DeliveryStreamType.Values())
	v.text("exclusiveStartDeliveryStreamName", in.ExclusiveStartDeliveryStreamName, 1, 64, namePattern)
	v.number("limit", in.Limit, 1, 10000)
	return v.err()
}

func checkDelete(in *firehose.DeleteDeliveryStreamInput) error {
	var v violations
	v.streamName(in.DeliveryStreamName)
	return v.err()
}

// check finds what is wrong with a put as a whole: one record that is too large fails all of them.
func (in *putInput) check(list bool) error {
	var v violations
	v.streamName(in.Stream)
	path := func(int) string { return "record" }
	if list {
		path = func(i int) string { return fmt.Sprintf("records.%d.member", i+1) }
		v.recordCount(in.Count)
	} else if in.Count < 0 {
		v.missing("record")
	}
	size := 0
	for i, r := range in.Records {
		switch {
		case !r.Given:
			v.missing(path(i))
		case !r.HasData:
			v.missing(path(i) + ".data")
		case len(r.Data) > record.MaxRecordBytes:
			v.add(path(i)+".data", "have length less than or equal to %d", record.MaxRecordBytes)
		}
		size += len(r.Data)
	}
	if err := v.err(); err != nil {
		return err
	}
	if size > record.MaxBatchBytes {
		return invalidArgument("Records size exceeds 4 MB limit")
	}
	return nil
}

func (v *violations) recordCount(count int) {
	switch {
	case count < 0:
		v.missing("records")
	case count == 0:
		v.add("records", "have length greater than or equal to 1")
	case count > record.MaxBatchRecords:
		v.add("records", "have length less than or equal to %d", record.MaxBatchRecords)
	}
}
