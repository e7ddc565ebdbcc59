package natspage

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Diff tells where two outputs differ; empty if nowhere. Not compared is what differs with each run (forms has the list), how wide a
// table is, and in which order the lines of a paragraph are: the CLI prints headers, and what it finds in the server, in any.
func Diff(want, got string) string {
	wanted, found := lines(want), lines(got)
	var b strings.Builder
	for _, line := range without(wanted, found) {
		fmt.Fprintf(&b, "  the page has  %s\n", line)
	}
	for _, line := range without(found, wanted) {
		fmt.Fprintf(&b, "  nats prints   %s\n", line)
	}
	if b.Len() == 0 && !slices.Equal(wanted, found) {
		return "  the same lines in other paragraphs\n"
	}
	return b.String()
}

// lines are the masked lines of an output, sorted within each paragraph.
func lines(output string) (all []string) {
	for paragraph := range strings.SplitSeq(Mask(output), "\n\n") {
		part := strings.Split(paragraph, "\n")
		slices.Sort(part)
		all = append(append(all, part...), "")
	}
	return all
}

// without are the lines of one that other does not have, or not as often.
func without(one, other []string) (left []string) {
	count := map[string]int{}
	for _, line := range other {
		count[line]++
	}
	for _, line := range one {
		if count[line]--; count[line] < 0 {
			left = append(left, line)
		}
	}
	return left
}

// form is what differs with each run, and what stands for it. The parts of the expression that are in parentheses stay.
type form struct{ expression, mask string }

// forms are applied in this order.
func forms() []form {
	const date = `\d{4}-\d\d-\d\d`
	return []form{
		{date + `[T ]\d\d:\d\d:\d\d(?:\.\d+)?Z?`, "<time>"},
		{date + `-\d\d-\d\d-\d\d`, "<time>"},      // in an object's name
		{`\d{4}/\d\d/\d\d/\d\d/`, "<hour>/"},      // before it
		{`(?m)^\d\d:\d\d:\d\d( Sub)`, "<time>$1"}, // before what the CLI says of its own
		{`[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}`, "<random>"},
		{`([^a-z0-9]|^)[a-z2-7]{16}([^a-z0-9]|$)`, "$1<id>$2"}, // of delivery streams, replicas, the installation
		{`(?m)^(Nats-Msg-Id: ).*`, "$1<hash>"},
		{`("requestId":"|RequestID: )\w+`, "$1<request>"},
		{`("hostId":"|HostID: )[\w+/=]+`, "$1<host>"},
		{`127\.0\.0\.1:\d+`, "<address>"},
		{`\d+(?:\.\d+)? (?:B|KiB|MiB)\b`, "<size>"},
		{`("batch":"<id>\.\w+\.\d+\.)\d+-\d+(","attempt":)`, "$1<batch>$2"}, // of the error log, to which several batches write
		{`(?m)^(Item: \w+#)\d+( received ).*( on Subject )`, "$1<n>$2<time>$3"},
		{`("attempts?":)\d+`, "$1<n>"},
		{`"suppressed":\d+,`, ""}, // there if the same happened too often
		{`("progress":)"[^"]*"`, "$1<progress>"},
		{`(\berrors\.\S+ +│ +)\d+`, "$1<n>"},    // entries, of which each attempt writes one
		{`(<time> │ +\d+ │ +)\d+ │`, "$1<n> │"}, // revision of a key
		{` +`, " "},
		{`─+`, "─"},
		{`(│ Explicit │ [^│]+ │ \d+ │ \d+ │ [^│]+ │) \d+`, "$1 <floor>"}, // a sequence of all batches, which come in any order
	}
}

// Mask replaces what differs with each run.
func Mask(output string) string {
	for _, f := range forms() {
		output = regexp.MustCompile(f.expression).ReplaceAllString(output, f.mask)
	}
	return output
}
