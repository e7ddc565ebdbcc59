package ingest

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
)

// The rules of Elasticsearch and OpenSearch themselves for what an index, and a type in versions that have types, may be
// called. They are checked here because a name that breaks them fails every document, and all that could be done is to set
// everything aside.

// mostIndexBytes is how long the name of an index may be, in UTF-8.
const mostIndexBytes = 255

// indexProblem says what is wrong with the name of an index, nothing if it is right in every period of the rotation.
func indexProblem(name string, rotation types.AmazonopensearchserviceIndexRotationPeriod) string {
	most := mostIndexBytes - suffixBytes(rotation)
	switch {
	case name != strings.ToLower(name):
		return "it must be in lower case"
	case strings.ContainsAny(name, `\/*?"<>| ,#:`):
		return `it must not contain any of \ / * ? " < > | , # : or a space`
	case strings.ContainsFunc(name, isControl):
		return "it must not contain control characters"
	case strings.ContainsAny(name[:min(1, len(name))], "-_+"):
		return "it must not begin with - _ or +"
	case name == ".", name == "..":
		return "it must not be . or .."
	case len(name) > most:
		return fmt.Sprintf("with IndexRotationPeriod %s it must not be longer than %d bytes in UTF-8", rotation, most)
	}
	return ""
}

// suffixBytes is the length of what the rotation appends to an index's name.
func suffixBytes(rotation types.AmazonopensearchserviceIndexRotationPeriod) int {
	switch rotation {
	case types.AmazonopensearchserviceIndexRotationPeriodOneHour:
		return len("-yyyy-MM-dd-HH")
	case types.AmazonopensearchserviceIndexRotationPeriodOneDay:
		return len("-yyyy-MM-dd")
	case types.AmazonopensearchserviceIndexRotationPeriodOneWeek:
		return len("-yyyy-www")
	case types.AmazonopensearchserviceIndexRotationPeriodOneMonth:
		return len("-yyyy-MM")
	case types.AmazonopensearchserviceIndexRotationPeriodNoRotation:
	}
	return 0
}

// typeProblem says what is wrong with the name of a type, nothing if it is right or there is none.
func typeProblem(name string) string {
	switch {
	case name == "", name == "_doc":
		return ""
	case strings.ContainsAny(name, "#,"), strings.ContainsFunc(name, isControl):
		return "it must not contain # or a comma or control characters"
	case strings.ContainsAny(name[:1], "_."):
		return "it must not begin with _ or ., except for _doc"
	}
	return ""
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }
