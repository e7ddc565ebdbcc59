package objectname

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func instant() time.Time { return time.Date(2018, 8, 27, 22, 30, 5, 0, time.UTC) }

// TestEvaluate has the examples of AWS's documentation, with the hour that it leaves out of the default folder, and what Firehose
// writes where the documentation contradicts itself. The random strings were computed by another program.
func TestEvaluate(t *testing.T) {
	tests := []struct{ name, prefix, zone, want string }{
		{"nothing", "", "", "2018/08/27/22/"},
		{"a folder", "myApp/", "", "myApp/2018/08/27/22/"},
		{"no slash is added", "legacy", "", "legacy2018/08/27/22/"},
		{"the zone decides the default folder", "a/", "Asia/Tokyo", "a/2018/08/28/07/"},
		{"one expression", "!{timestamp:yyyy/MM/dd}", "", "2018/08/27"},
		{"several", "myPrefix/year=!{timestamp:yyyy}/month=!{timestamp:MM}/day=!{timestamp:dd}/hour=!{timestamp:HH}/", "", "myPrefix/year=2018/month=08/day=27/hour=22/"},
		{"quoted text", "a/!{timestamp:'year='yyyy'/month='MM'/day='dd'/hour='HH}/", "", "a/year=2018/month=08/day=27/hour=22/"},
		{"quotes around separators", "dt=!{timestamp:yyyy'-'MM'-'dd}/h=!{timestamp:HH}/", "", "dt=2018-08-27/h=22/"},
		{"the zone decides expressions", "!{timestamp:yyyy-MM-dd HH:mm z}/", "America/New_York", "2018-08-27 18:30 EDT/"},
		{"a half-hour zone", "!{timestamp:HH:mm}/", "Asia/Kolkata", "04:00/"},
		{"a colon in a value", "!{timestamp:HH:mm:ss}", "", "22:30:05"},
		{"random strings, others at each use", "!{firehose:random-string}/!{firehose:random-string}/", "", "uPYRtMPxVea/6VKE5os8hNV/"},
		{"no folder behind a random string alone", "rand=!{firehose:random-string}", "", "rand=uPYRtMPxVea"},
		{"an exclamation mark", "hot!/!!{timestamp:yyyy}!", "", "hot!/!2018!"},
		{"braces", "{a}/}{", "", "{a}/}{2018/08/27/22/"},
		{"a brace behind an expression", "!{timestamp:yyyy}}", "", "2018}"},
		{"a dollar", "${timestamp:yyyy}/", "", "${timestamp:yyyy}/2018/08/27/22/"},
		{"slashes stay", "//a//", "", "//a//2018/08/27/22/"},
		{"dots that are no folder", "./../...", "", "./../...2018/08/27/22/"}, // Check refuses it; what is stored is evaluated
		{"beyond ASCII", "données/年!{timestamp:yyyy年}", "", "données/年2018年"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			template, err := Parse(Prefix, tt.prefix)
			check(t, err)
			wantEqual(t, "whether it has expressions", template.HasExpressions(), strings.Contains(tt.prefix, "!{"))
			zone, err := Zone(tt.zone)
			check(t, err)
			values := Values{At: instant(), Zone: zone, Seed: []byte("seed")}
			wantEqual(t, "the evaluated prefix", template.Evaluate(values), tt.want)
			wantEqual(t, "the evaluated prefix, again", template.Evaluate(values), tt.want)
		})
	}
}

func TestEvaluateError(t *testing.T) {
	tests := []struct{ name, prefix, errorPrefix, want string }{
		{"neither", "", "", "processing-failed/2018/08/27/22/"},
		{"the prefix stands in", "myApp/", "", "myApp/processing-failed/2018/08/27/22/"},
		{"no slash is added", "myApp", "", "myAppprocessing-failed/2018/08/27/22/"},
		{"no expressions", "myApp/", "failed/", "failed/processing-failed/2018/08/27/22/"},
		{"no expressions, a prefix with some", "!{timestamp:yyyy}", "failed/", "failed/processing-failed/2018/08/27/22/"},
		{"an expression", "myApp/", "myFirehoseFailures/!{firehose:error-output-type}/", "myFirehoseFailures/processing-failed/"},
		{
			"several", "", "f/!{firehose:error-output-type}/!{timestamp:yyyy}/!{firehose:random-string}/!{firehose:error-output-type}",
			"f/processing-failed/2018/uPYRtMPxVea/processing-failed",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			template, err := ParseError(tt.prefix, tt.errorPrefix)
			check(t, err)
			wantEqual(t, "the evaluated prefix", template.Evaluate(Values{At: instant(), Seed: []byte("seed"), ErrorType: "processing-failed"}), tt.want)
		})
	}
}

const rule = "Ths supplied prefix(es) do not satisfy the following constraint: "

// TestCheck has the messages in full where they are AWS's, and else what they begin with.
func TestCheck(t *testing.T) {
	typed := "!{firehose:error-output-type}"
	tests := []struct {
		name string
		s    Settings
		want string // empty: nothing is wrong
	}{
		{"nothing is set", Settings{}, ""},
		{"all is set", Settings{"a/!{timestamp:yyyy}/", "b/" + typed + "/!{firehose:random-string}", ".json.gz", "Europe/Berlin"}, ""},
		{"an error prefix without expressions", Settings{"a/!{timestamp:yyyy}/", "b/", "", ""}, ""},

		{"no error prefix", Settings{Prefix: "!{timestamp:yyyy}"}, rule + "ErrorOutputPrefix cannot be null or empty when Prefix contains expressions"},
		{"a random string is an expression", Settings{Prefix: "!{firehose:random-string}"}, rule + "ErrorOutputPrefix cannot be null or empty when Prefix contains expressions"},
		{"error type in the prefix", Settings{Prefix: typed, ErrorOutputPrefix: typed}, rule + "Prefix must not contain any occurrence of !{firehose:error-output-type}"},
		{"no error type", Settings{ErrorOutputPrefix: "!{timestamp:yyyy}"}, rule + "ErrorOutputPrefix must contain at least one occurrence of !{firehose:error-output-type}"},
		{"unknown namespace", Settings{Prefix: "!{date:yyyy}", ErrorOutputPrefix: "f/"}, rule + "Namespace to the left of colon (date) is an invalid keyword! Use timestamp or firehose in Prefix"},
		{"namespace in capitals", Settings{Prefix: "!{Timestamp:yyyy}", ErrorOutputPrefix: "f/"}, rule + "Namespace to the left of colon (Timestamp) is an invalid keyword!"},
		{"unknown value", Settings{Prefix: "!{firehose:random}", ErrorOutputPrefix: "f/"}, rule + "Invalid conversion character used in the value of the expression in Prefix: !{firehose:random} is not one of"},
		{"unknown letter", Settings{Prefix: "!{timestamp:yyyy-jj}", ErrorOutputPrefix: "f/"}, rule + `Invalid conversion character used in the value of the expression in Prefix: !{timestamp:yyyy-jj} has "jj", which is no pattern letter`},
		{"unknown letter in the error prefix", Settings{ErrorOutputPrefix: "!{timestamp:R}" + typed}, rule + "Invalid conversion character used in the value of the expression in ErrorOutputPrefix: !{timestamp:R} has "},
		{"a brace in quotes ends the expression", Settings{Prefix: "!{timestamp:yyyy'}'}", ErrorOutputPrefix: "f/"}, rule + "Invalid conversion character used in the value of the expression in Prefix: !{timestamp:yyyy'} has a text in quotes without an end"},
		{"unterminated", Settings{Prefix: "a/!{timestamp:yyyy", ErrorOutputPrefix: "f/"}, rule + `Invalid expression usage in Prefix at "!{timestamp:yyyy": write !{namespace:value}`},
		{"nested", Settings{Prefix: "!{timestamp:yyyy!{firehose:random-string}}", ErrorOutputPrefix: "f/"}, rule + "Invalid expression usage in Prefix"},
		{"nested in quotes", Settings{Prefix: "!{timestamp:'!{'yyyy}", ErrorOutputPrefix: "f/"}, rule + "Invalid expression usage in Prefix"},
		{"no value", Settings{Prefix: "!{timestamp:}", ErrorOutputPrefix: "f/"}, rule + "Invalid expression usage in Prefix"},
		{"no namespace", Settings{Prefix: "!{:yyyy}", ErrorOutputPrefix: "f/"}, rule + "Invalid expression usage in Prefix"},
		{"no colon", Settings{Prefix: "!{timestamp}", ErrorOutputPrefix: "f/"}, rule + "Invalid expression usage in Prefix"},
		{"empty", Settings{Prefix: "!{}", ErrorOutputPrefix: "f/"}, rule + "Invalid expression usage in Prefix"},
		{"in the error prefix", Settings{ErrorOutputPrefix: "!{"}, rule + "Invalid expression usage in ErrorOutputPrefix"},
		{"dynamic partitioning by query", Settings{Prefix: "!{partitionKeyFromQuery:id}", ErrorOutputPrefix: "f/"}, rule + "dynamic partitioning is not built yet: remove !{partitionKeyFromQuery:id} from Prefix"},
		{"dynamic partitioning by function", Settings{Prefix: "!{partitionKeyFromLambda:id}", ErrorOutputPrefix: "f/"}, rule + "dynamic partitioning is not built yet"},
		{"dynamic partitioning of errors", Settings{ErrorOutputPrefix: "!{partitionKeyFromQuery:id}" + typed}, rule + "Dynamic Partitioning Namespaces can't be part of an error prefix expression"},
		{"broken UTF-8", Settings{Prefix: "a\xff"}, rule + "Prefix must be valid UTF-8"},

		{"longest prefix", Settings{Prefix: strings.Repeat("a", 498)}, ""},
		{"too long with its folder", Settings{Prefix: strings.Repeat("a", 499)}, rule + "Length of evaluated prefix cannot be greater than 512. This one may become 513 characters long"},
		{"longest with an expression", Settings{Prefix: strings.Repeat("a", 503) + "!{timestamp:EEEE}", ErrorOutputPrefix: "f/"}, ""},
		{"too long on a Wednesday", Settings{Prefix: strings.Repeat("a", 504) + "!{timestamp:EEEE}", ErrorOutputPrefix: "f/"}, rule + "Length of evaluated prefix cannot be greater than 512"},
		{"error prefix too long", Settings{ErrorOutputPrefix: strings.Repeat("a", 481) + typed}, rule + "Length of evaluated ErrorOutputPrefix cannot be greater than 512"},
		{"512 characters of three bytes", Settings{Prefix: strings.Repeat("年", 498)}, rule + "an evaluated Prefix cannot be longer than 700 bytes in UTF-8"},

		{"a control character", Settings{Prefix: "a\tb/"}, rule + "Prefix cannot contain control characters: remove U+0009"},
		{"a control character in a pattern", Settings{ErrorOutputPrefix: typed + "!{timestamp:yyyy\n}"}, rule + "ErrorOutputPrefix cannot contain control characters: remove U+000A"},
		{"the folder above", Settings{Prefix: "a/../b/"}, rule + `Prefix cannot contain the folder "..": rename or remove it`},
		{"this folder", Settings{Prefix: "./"}, rule + `Prefix cannot contain the folder "."`},
		{"the folder above, in a pattern", Settings{Prefix: "a/!{timestamp:'..'/yyyy}", ErrorOutputPrefix: "f/"}, rule + `Prefix cannot contain the folder ".."`},
		{"dots that end up in a longer name", Settings{Prefix: "a/.."}, ""},
		{"empty folders", Settings{Prefix: "//a//", ErrorOutputPrefix: "/"}, ""},

		{"zone unknown", Settings{CustomTimeZone: "Mars/Olympus"}, `CustomTimeZone "Mars/Olympus" is not a known time zone: give a name of the IANA`},
		{"zone of the machine", Settings{CustomTimeZone: "Local"}, `CustomTimeZone "Local" is not a known time zone`},
		{"a directory of zones", Settings{CustomTimeZone: "Europe"}, `CustomTimeZone "Europe" is not a known time zone`},
		{"zone with leap seconds", Settings{CustomTimeZone: "right/UTC"}, `CustomTimeZone "right/UTC" is not a known time zone`},
		{"zone outside of the pattern", Settings{CustomTimeZone: "Etc/GMT+5"}, `CustomTimeZone "Etc/GMT+5" is not a known time zone`},
		{"a path", Settings{CustomTimeZone: "/etc/localtime"}, `CustomTimeZone "/etc/localtime" is not a known time zone`},

		{"extension without a dot", Settings{FileExtension: "json"}, "FileExtension must begin with a dot"},
		{"extension of a dot", Settings{FileExtension: "."}, "FileExtension must begin with a dot"},
		{"extension in capitals", Settings{FileExtension: ".JSON"}, "FileExtension must begin with a dot"},
		{"extension with a slash", Settings{FileExtension: ".a/b"}, "FileExtension must begin with a dot"},
		{"longest extension", Settings{FileExtension: "." + strings.Repeat("a", 127)}, ""},
		{"extension too long", Settings{FileExtension: "." + strings.Repeat("a", 128)}, "FileExtension must begin with a dot, followed by at most 127 of"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := Check(tt.s)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestKeyFits puts the longest that Check accepts and the longest of everything else together.
func TestKeyFits(t *testing.T) {
	settings := Settings{Prefix: strings.Repeat("€", 228) + "ab", FileExtension: "." + strings.Repeat("x", 127)}
	check(t, Check(settings))
	if err := Check(Settings{Prefix: settings.Prefix + "c"}); err == nil {
		t.Error("a longer prefix is accepted")
	}
	failed, err := ParseError(settings.Prefix, "")
	check(t, err)
	key := failed.Evaluate(Values{At: instant(), ErrorType: strings.Repeat("e", longestErrorType)}) +
		Name(strings.Repeat("n", 64), 2_000_000_000, instant(), nil, "01234567-89ab-cdef-0123-456789abcdef") + settings.FileExtension
	if len(key) > 1024 || len(key) < 900 {
		t.Errorf("%d bytes", len(key))
	}
}

func TestName(t *testing.T) {
	tokyo, err := Zone("Asia/Tokyo")
	check(t, err)
	wantEqual(t, "in UTC", Name("web.clicks", 3, instant(), nil, "id"), "web.clicks-3-2018-08-27-22-30-05-id")
	wantEqual(t, "in Tokyo", Name("web.clicks", 3, instant(), tokyo, "id"), "web.clicks-3-2018-08-28-07-30-05-id")
	wantEqual(t, "the compression's ending", Extension("", ".gz"), ".gz")
	wantEqual(t, "an ending in its place", Extension(".json", ".gz"), ".json")
}

// TestRandomStrings makes sure that seeds and uses make others, and what they are made of.
func TestRandomStrings(t *testing.T) {
	template, err := Parse(Prefix, strings.Repeat("!{firehose:random-string} ", 100))
	check(t, err)
	seen := map[string]bool{}
	for _, seed := range []string{"", "a", "b", "a\x00"} {
		for _, text := range strings.Fields(template.Evaluate(Values{At: instant(), Seed: []byte(seed)})) {
			if seen[text] {
				t.Errorf("%s comes again", text)
			}
			seen[text] = true
			if !matches(`[0-9A-Za-z]{11}`, text) {
				t.Errorf("%s has another form", text)
			}
		}
	}
	wantEqual(t, "how many there are", len(seen), 400)
}

// FuzzPrefix makes sure that whatever is accepted can be evaluated, always to the same, and to no more than was checked.
func FuzzPrefix(f *testing.F) {
	for _, prefix := range []string{
		"", "a/", "!{timestamp:yyyy/MM/dd/HH}/", "!{timestamp:'it''s' EEEE QQQQ G z VV XXXXX}", "!{firehose:random-string}!{", "!{firehose:error-output-type}",
		"!{timestamp:[[S]nNA]}", "!!{timestamp:''}}", "!{timestamp:zzz O Z 年}", "./../!{timestamp:'.'}/", "!{partitionKeyFromQuery:a}", "\xff!{timestamp:y}",
	} {
		f.Add(prefix, prefix, ".gz", "Asia/Kolkata", int64(1_700_000_000_123_456_789))
	}
	f.Fuzz(func(t *testing.T, prefix, errorPrefix, extension, zoneName string, nanoseconds int64) {
		accepted := Check(Settings{prefix, errorPrefix, extension, zoneName}) == nil
		zone, err := Zone(zoneName)
		if err != nil {
			zone = nil
		}
		values := Values{At: time.Unix(0, nanoseconds), Zone: zone, Seed: []byte(errorPrefix), ErrorType: "processing-failed"}
		data, dataErr := Parse(Prefix, prefix)
		failed, failedErr := ParseError(prefix, errorPrefix)
		if accepted && (dataErr != nil || failedErr != nil || err != nil) {
			t.Fatalf("checked and not evaluated: %v, %v, %v", dataErr, failedErr, err)
		}
		for _, template := range []Template{data, failed} {
			text := template.Evaluate(values)
			if text != template.Evaluate(values) {
				t.Errorf("%q evaluates to different texts", prefix)
			}
			if !utf8.ValidString(text) {
				t.Errorf("%q is no UTF-8", text)
			}
			characters, bytes := template.longest()
			if utf8.RuneCountInString(text) > characters || len(text) > bytes {
				t.Errorf("%q is longer than %d characters or %d bytes", text, characters, bytes)
			}
			key := text + Name("demo", 1, values.At, zone, "id") + extension
			if accepted && (len(key) > 1024 || checkText(Prefix, key) != nil) {
				t.Errorf("%q was accepted and is no key: %v", key, checkText(Prefix, key))
			}
		}
		for _, err := range []error{dataErr, failedErr, err} {
			if err != nil && !utf8.ValidString(err.Error()) {
				t.Errorf("the message %q is no UTF-8", err)
			}
		}
	})
}

func BenchmarkEvaluate(b *testing.B) {
	template, err := Parse(Prefix, "a/!{timestamp:yyyy/MM/dd/HH}/!{firehose:random-string}/")
	if err != nil {
		b.Fatal(err)
	}
	values := Values{At: instant(), Seed: []byte("seed")}
	for b.Loop() {
		template.Evaluate(values)
	}
}

// TestCommon has what all names of a prefix for failed records begin with, so that they can be listed.
func TestCommon(t *testing.T) {
	for _, tt := range []struct{ name, prefix, errorPrefix, want string }{
		{"neither", "", "", "failed-type/"},
		{"the prefix stands in", "myApp/", "", "myApp/failed-type/"},
		{"no expressions", "!{timestamp:yyyy}", "failed/", "failed/failed-type/"},
		{"the type", "", "f/!{firehose:error-output-type}/!{timestamp:yyyy}/", "f/failed-type/"},
		{"the type at the end", "", "f/!{timestamp:yyyy}/!{firehose:error-output-type}/", "f/"},
		{"random first", "", "!{firehose:random-string}/!{firehose:error-output-type}", ""},
		{"text in a time", "", "!{timestamp:'year='yyyy}/!{firehose:error-output-type}/", "year="},
	} {
		t.Run(tt.name, func(t *testing.T) {
			template, err := ParseError(tt.prefix, tt.errorPrefix)
			check(t, err)
			common := template.Common("failed-type")
			wantEqual(t, "what is common", common, tt.want)
			got := template.Evaluate(Values{At: instant(), Seed: []byte("seed"), ErrorType: "failed-type"})
			wantEqual(t, "whether a name begins with it", strings.HasPrefix(got, common), true)
		})
	}
}
