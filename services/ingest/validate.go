package ingest

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"hydrant/services/ingest/internal/model"
	"hydrant/shared/record"
)

// mostListed is how many violations of one request are spelled out.
const mostListed = 20

// violations collects what is wrong with a request, for one ValidationException.
type violations struct {
	count  int
	listed []string
}

func (v *violations) add(path, constraint string) {
	v.count++
	if v.count <= mostListed {
		v.listed = append(v.listed, "Value at '"+path+"' failed to satisfy constraint: "+constraint)
	}
}

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

// validate finds what a request breaks of the API's constraints.
func validate(input *model.Shape, body jsontext.Value) error {
	var v violations
	input.Check(body, v.add)
	return v.err()
}

// The calls that come thousands of times a second are checked by hand, against the same constraints.
const (
	notNull     = "Member must not be null"
	namePattern = "[a-zA-Z0-9_.-]+"
	mostName    = 64
)

func mostLength(n int) string {
	return fmt.Sprintf("Member must have length less than or equal to %d", n)
}
func leastLength(n int) string {
	return fmt.Sprintf("Member must have length greater than or equal to %d", n)
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
		v.add("record", notNull)
	}
	for i, length := range in.Lengths {
		switch {
		case length == noRecord:
			v.add(path(i), notNull)
		case length == noData:
			v.add(path(i)+".data", notNull)
		case length > record.MaxRecordBytes:
			v.add(path(i)+".data", mostLength(record.MaxRecordBytes))
		}
	}
	if err := v.err(); err != nil {
		return err
	}
	if len(in.Bytes) > record.MaxBatchBytes {
		return invalidArgument("Records size exceeds 4 MB limit")
	}
	return nil
}

func (v *violations) streamName(name *string) {
	const path = "deliveryStreamName"
	switch {
	case name == nil:
		v.add(path, notNull)
		return
	case plainName(*name):
		return
	case *name == "":
		v.add(path, leastLength(1))
	case utf8.RuneCountInString(*name) > mostName:
		v.add(path, mostLength(mostName))
	}
	if *name == "" || !plainText(*name) {
		v.add(path, "Member must satisfy regular expression pattern: "+namePattern)
	}
}

func plainName(name string) bool { return len(name) >= 1 && len(name) <= mostName && plainText(name) }

// plainText is namePattern.
func plainText(name string) bool {
	for i := range len(name) {
		c := name[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && c != '_' && c != '.' && c != '-' {
			return false
		}
	}
	return true
}

func (v *violations) recordCount(count int) {
	switch {
	case count < 0:
		v.add("records", notNull)
	case count == 0:
		v.add("records", leastLength(1))
	case count > record.MaxBatchRecords:
		v.add("records", mostLength(record.MaxBatchRecords))
	}
}
