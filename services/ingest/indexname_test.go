package ingest

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
)

func TestIndexNames(t *testing.T) {
	const (
		never = types.AmazonopensearchserviceIndexRotationPeriodNoRotation
		hour  = types.AmazonopensearchserviceIndexRotationPeriodOneHour
		day   = types.AmazonopensearchserviceIndexRotationPeriodOneDay
		week  = types.AmazonopensearchserviceIndexRotationPeriodOneWeek
		month = types.AmazonopensearchserviceIndexRotationPeriodOneMonth
	)
	long := func(n int) string { return strings.Repeat("a", n) }
	tooLong := func(period string, most string) string {
		return "with IndexRotationPeriod " + period + " it must not be longer than " + most + " bytes in UTF-8"
	}
	for name, test := range map[string]struct {
		index    string
		rotation types.AmazonopensearchserviceIndexRotationPeriod
		problem  string
	}{
		"plain":              {"logs", day, ""},
		"all sorts":          {"a-b_c+d.e~f@g%h!", never, ""},
		"letters of others":  {"журнал", day, ""},
		"digits":             {"2026", day, ""},
		"hidden":             {".logs", day, ""},
		"dots":               {"...", day, ""},
		"capitals":           {"Logs", day, "it must be in lower case"},
		"capitals of others": {"Журнал", day, "it must be in lower case"},
		"a line feed":        {"a\nb", day, "it must not contain control characters"},
		"a null byte":        {"a\x00", day, "it must not contain control characters"},
		"a minus first":      {"-a", day, "it must not begin with - _ or +"},
		"an underscore":      {"_a", day, "it must not begin with - _ or +"},
		"a plus":             {"+a", day, "it must not begin with - _ or +"},
		"a dot":              {".", day, "it must not be . or .."},
		"two dots":           {"..", never, "it must not be . or .."},
		"255 bytes":          {long(255), never, ""},
		"256":                {long(256), never, tooLong("NoRotation", "255")},
		"an hour's":          {long(241), hour, ""},
		"more":               {long(242), hour, tooLong("OneHour", "241")}, // -2016-02-25-13
		"a day's":            {long(244), day, ""},
		"more than a day's":  {long(245), day, tooLong("OneDay", "244")}, // -2016-02-25
		"a week's":           {long(246), week, ""},
		"more than a week's": {long(247), week, tooLong("OneWeek", "246")}, // -2016-w08
		"a month's":          {long(247), month, ""},
		"more, a month":      {long(248), month, tooLong("OneMonth", "247")}, // -2016-02
	} {
		t.Run(name, func(t *testing.T) {
			if got := indexProblem(test.index, test.rotation); got != test.problem {
				t.Errorf("%q: got %q, want %q", test.index, got, test.problem)
			}
		})
	}
	for _, c := range `\/*?"<>| ,#:` {
		if got := indexProblem("a"+string(c)+"b", day); !strings.HasPrefix(got, "it must not contain any of") {
			t.Errorf("%q is taken: %q", c, got)
		}
	}
}

func TestTypeNames(t *testing.T) {
	for name, taken := range map[string]bool{
		"": true, "_doc": true, "line": true, "Line": true, "log-line.v2": true, "a b": true,
		"_line": false, "_": false, ".percolator": false, "a#b": false, "a,b": false, "a\n": false,
	} {
		if got := typeProblem(name); (got == "") != taken {
			t.Errorf("%q: got %q", name, got)
		}
	}
}
