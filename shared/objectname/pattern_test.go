package objectname

import (
	"bufio"
	"os"
	"strings"
	"testing"
	"time"
)

// TestPatterns compares with what Java's own DateTimeFormatter made of a few hundred patterns, instants and zones.
func TestPatterns(t *testing.T) {
	file, err := os.Open("testdata/datetimeformatter.tsv")
	check(t, err)
	defer file.Close()
	rows := 0
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		rows++
		columns := strings.Split(lines.Text(), "\t")
		if len(columns) != 4 {
			t.Fatalf("row %q", lines.Text())
		}
		pattern, want := columns[0], columns[3]
		at, err := time.Parse(time.RFC3339Nano, columns[1])
		check(t, err)
		zone, err := load(columns[2])
		check(t, err)
		pieces, err := compile(pattern)
		if err != nil {
			t.Errorf("%s: %v", pattern, err)
			continue
		}
		template := Template{pieces: pieces}
		if got := template.Evaluate(Values{At: at, Zone: zone}); got != want {
			t.Errorf("%s of %s in %s: %q, Java says %q", pattern, columns[1], zone, got, want)
		}
		if most, _ := template.longest(); most < len([]rune(want)) {
			t.Errorf("%s: %d characters at most, Java made %q", pattern, most, want)
		}
	}
	if rows < 700 {
		t.Errorf("%d rows", rows)
	}
}

// TestPatternsRefused has what Java refuses, and what it means one thing by in one version and another in the next.
func TestPatternsRefused(t *testing.T) {
	tests := []struct{ pattern, says string }{
		{"C", "no pattern letter"},
		{"yyyy-I", "no pattern letter"},
		{"J", "no pattern letter"}, {"P", "no pattern letter"}, {"R", "no pattern letter"}, {"T", "no pattern letter"},
		{"U", "no pattern letter"}, {"b", "no pattern letter"}, {"f", "no pattern letter"}, {"i", "no pattern letter"},
		{"j", "no pattern letter"}, {"l", "no pattern letter"}, {"o", "no pattern letter"}, {"r", "no pattern letter"},
		{"t", "no pattern letter"},
		{"year=yyyy", "no pattern letter"},
		{"V", "more or less often"},
		{"VVV", "more or less often"},
		{"aa", "more or less often"},
		{"cc", "more or less often"},
		{"ddd", "more or less often"},
		{"DDDD", "more or less often"},
		{"EEEEEE", "more or less often"}, {"eeeeee", "more or less often"}, {"cccccc", "more or less often"},
		{"GGGGGG", "more or less often"},
		{"HHH", "more or less often"}, {"hhh", "more or less often"}, {"KKK", "more or less often"}, {"kkk", "more or less often"},
		{"LLLLLL", "more or less often"}, {"MMMMMM", "more or less often"},
		{"mmm", "more or less often"}, {"sss", "more or less often"},
		{"nnnnnnnnnnnnnnnnnnnn", "more or less often"}, {"yyyyyyyyyyyyyyyyyyyy", "more or less often"},
		{"OO", "more or less often"}, {"OOOOO", "more or less often"},
		{"QQQQQQ", "more or less often"}, {"qqqqqq", "more or less often"},
		{"SSSSSSSSSS", "more or less often"},
		{"www", "more or less often"}, {"WW", "more or less often"},
		{"XXXXXX", "more or less often"}, {"xxxxxx", "more or less often"}, {"ZZZZZZ", "more or less often"}, {"zzzzz", "more or less often"},
		{"B", "versions of Java differ"}, {"F", "versions of Java differ"}, {"v", "versions of Java differ"},
		{"zzzz", "versions of Java differ"}, {"ppH", "versions of Java differ"},
		{"yyyy'", "without an end"},
		{"'", "without an end"},
		{"'a''", "without an end"},
		{"'''", "without an end"},
		{"[[]]", "evaluates to nothing"},
		{"yyyy]", "without a ["},
		{"[]]", "without a ["},
		{"yyyy{", "reserved"}, {"}", "reserved"}, {"#", "reserved"},
	}
	for _, tt := range tests {
		t.Run(tt.pattern, func(t *testing.T) {
			_, err := compile(tt.pattern)
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %q", err, tt.says)
			}
		})
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantEqual[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
