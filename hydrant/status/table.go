package status

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"hydrant/hydrant/internal/text"
)

// lineWidth is what a table and the notes under it keep within.
const lineWidth = 120

// Render writes a table of the legs, and notes on what is wrong with any.
func Render(w io.Writer, legs []Leg, now time.Time) error {
	var b strings.Builder
	if len(legs) == 0 {
		b.WriteString(none)
	} else {
		table(&b, legs, now)
		notes(&b, legs, now)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

const none = `no delivery streams

Make one at the address of Hydrant's API, for example:
  aws firehose create-delivery-stream --endpoint-url http://127.0.0.1:4573 --delivery-stream-name demo \
    --extended-s3-destination-configuration \
    RoleARN=arn:aws:iam::000000000000:role/hydrant,BucketARN=arn:aws:s3:::demo
`

// column is one column of the table. A group begins at the column that names it and spans those after it without a name.
type column struct {
	group string
	head  string
	left  bool // aligned, as text is; numbers are aligned right
}

func columns() []column {
	return []column{
		{"", "STREAM", true}, {"", "STATUS", true}, {"", "LEG", true},
		{"BUFFERED", "records", false}, {"+", "bytes", false},
		{"PENDING", "batches", false}, {"+", "records", false}, {"+", "bytes", false},
		{"DELIVERED", "records", false}, {"+", "bytes", false},
		{"SET ASIDE", "records", false},
		{"EXPIRED", "records", false},
		{"OLDEST", "", false},
	}
}

func table(b *strings.Builder, legs []Leg, now time.Time) {
	cols := columns()
	rows := make([][]string, 0, len(legs)+2)
	heads := make([]string, len(cols))
	for i, c := range cols {
		heads[i] = c.head
	}
	rows = append(rows, heads)
	for _, l := range legs {
		rows = append(rows, cells(l, now))
	}
	if len(legs) > 1 {
		sum := cells(total(legs), now)
		sum[1], sum[2] = "", "" // neither a status nor a leg
		rows = append(rows, sum)
	}
	widths := fit(cols, rows)
	writeGroups(b, cols, widths)
	for _, cells := range rows {
		writeRow(b, cols, widths, cells)
	}
}

func cells(l Leg, now time.Time) []string {
	oldest := "-"
	if !l.OldestUndelivered.IsZero() {
		oldest = text.Duration(age(l.OldestUndelivered, now))
	}
	// A message that expired uncounted held a record or more.
	expired := mark(l.Expired.Messages > 0) + text.Count(l.Expired.Records+int64(l.Expired.Messages))
	buffered, pending := mark(l.Buffered.LowerBound), mark(l.Pending.LowerBound)
	return []string{
		string(l.Stream), orDash(l.Status), orDash(string(l.Leg)),
		buffered + text.Count(l.Buffered.Records), buffered + text.Size(l.Buffered.Bytes),
		pending + text.Count(l.Pending.Batches), pending + text.Count(l.Pending.Records), pending + text.Size(l.Pending.Bytes),
		text.Count(l.Delivered.Records), text.Size(l.Delivered.Bytes),
		text.Count(l.SetAside.Records), expired, oldest,
	}
}

// mark is put before a number that is a lower bound.
func mark(lowerBound bool) string {
	if lowerBound {
		return "≥"
	}
	return ""
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// total adds the legs up. A record counts once for each leg that it takes.
func total(legs []Leg) Leg {
	sum := Leg{Stream: "total"}
	for _, l := range legs {
		sum.Buffered.Records += l.Buffered.Records
		sum.Buffered.Bytes += l.Buffered.Bytes
		sum.Buffered.LowerBound = sum.Buffered.LowerBound || l.Buffered.LowerBound
		sum.Pending.Batches += l.Pending.Batches
		sum.Pending.Records += l.Pending.Records
		sum.Pending.Bytes += l.Pending.Bytes
		sum.Pending.LowerBound = sum.Pending.LowerBound || l.Pending.LowerBound
		sum.Delivered.Records += l.Delivered.Records
		sum.Delivered.Bytes += l.Delivered.Bytes
		sum.SetAside.Records += l.SetAside.Records
		sum.Expired.Records += l.Expired.Records
		sum.Expired.Messages += l.Expired.Messages
		sum.undelivered(l.OldestUndelivered)
	}
	return sum
}

// gap is what stands before a column: two spaces, one inside a group.
func gap(cols []column, i int) int {
	switch {
	case i == 0:
		return 0
	case cols[i].group == "+":
		return 1
	default:
		return 2
	}
}

// fit returns the columns' widths. Names of delivery streams are shortened to what the other columns leave of a line.
func fit(cols []column, rows [][]string) []int {
	widths := make([]int, len(cols))
	rest := lineWidth
	for i := range cols {
		if span(cols, i) == 1 {
			widths[i] = len(cols[i].group)
		}
		for _, cells := range rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(cells[i]))
		}
		rest -= gap(cols, i)
		if i > 0 {
			rest -= widths[i]
		}
	}
	widths[0] = min(widths[0], rest)
	for _, cells := range rows {
		cells[0] = text.Shorten(cells[0], widths[0])
	}
	return widths
}

// span is how many columns the group has that begins at column i.
func span(cols []column, i int) int {
	n := 1
	for i+n < len(cols) && cols[i+n].group == "+" {
		n++
	}
	return n
}

// writeGroups writes the line of the groups' names, each at the right end of its columns.
func writeGroups(b *strings.Builder, cols []column, widths []int) {
	for i := 0; i < len(cols); {
		n := span(cols, i)
		width := 0
		for j := i; j < i+n; j++ {
			width += gap(cols, j) + widths[j]
		}
		fmt.Fprintf(b, "%*s", width, cols[i].group)
		i += n
	}
	b.WriteByte('\n')
}

func writeRow(b *strings.Builder, cols []column, widths []int, cells []string) {
	var line strings.Builder
	for i, cell := range cells {
		line.WriteString(strings.Repeat(" ", gap(cols, i)))
		padding := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
		if cols[i].left {
			line.WriteString(cell + padding)
		} else {
			line.WriteString(padding + cell)
		}
	}
	b.WriteString(strings.TrimRight(line.String(), " "))
	b.WriteByte('\n')
}

// notes writes what needs somebody's attention, and what the table's signs mean.
func notes(b *strings.Builder, legs []Leg, now time.Time) {
	bound := false
	lines := make([]string, 0, len(legs)+1)
	for _, l := range legs {
		bound = bound || l.Buffered.LowerBound || l.Pending.LowerBound || l.Expired.Messages > 0
		name := strings.TrimSpace(string(l.Stream) + " " + string(l.Leg))
		if l.Problem != "" {
			lines = append(lines, name+": "+l.Problem)
		}
		if l.Failing.Batches > 0 {
			lines = append(lines, name+": "+failing(l, now))
		}
	}
	legend := "1 KB is 1024 bytes"
	if bound {
		legend = "≥ is at least, " + legend
	}
	for _, line := range append(lines, legend) {
		b.WriteByte('\n')
		b.WriteString(text.Wrapped(line, lineWidth))
	}
	b.WriteByte('\n')
}

func failing(l Leg, now time.Time) string {
	f := l.Failing
	said := fmt.Sprintf("%s pending batches were tried without success", text.Count(f.Batches))
	if f.Batches == 1 {
		said = "1 pending batch was tried without success"
	}
	switch {
	case f.LoggingOff:
		return fmt.Sprintf("%s; why is not known, because error logging is off: \"hydrant logs %s\" says how to turn it on", said, l.Stream)
	case f.LastErrorCode == "":
		return said
	}
	return fmt.Sprintf("%s; last error %s, %s ago: %s", said, f.LastErrorCode, text.Duration(age(f.LastErrorAt, now)), f.LastErrorMessage)
}
