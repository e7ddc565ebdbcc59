package report

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

const nameWidth = 46

// Table prints rows, each beside what it was in the results before.
func Table(out io.Writer, rows []*Row, before Results) error {
	var err error
	for _, row := range rows {
		_, e := io.WriteString(out, rowText(row, before.Row(row.Name)))
		err = errors.Join(err, e)
	}
	return err
}

func rowText(row, before *Row) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s: %s\n", row.Name, row.Title)
	if row.Error != "" {
		fmt.Fprintf(&b, "  NOT MEASURED: %s\n", row.Error)
	}
	if len(row.Figures) > 0 {
		fmt.Fprintf(&b, "  %s%9s%9s%9s  %-14s%s\n", pad("", nameWidth), "median", "least", "most", "target", "change")
	}
	for _, f := range row.Figures {
		b.WriteString(figureText(f, before))
	}
	for _, note := range row.Notes {
		fmt.Fprintf(&b, "  - %s\n", note)
	}
	if elsewhere := Elsewhere(row, before); elsewhere != "" {
		fmt.Fprintf(&b, "  - %s\n", elsewhere)
	}
	return b.String()
}

func figureText(f *Figure, before *Row) string {
	name := f.Name
	if f.Line != "" {
		name = f.Line + ": " + name
	}
	if f.Unit != "" {
		name += ", " + f.Unit
	}
	if len(f.Rounds) == 0 {
		return fmt.Sprintf("  %s%9s\n", pad(name, nameWidth), "-")
	}
	line := fmt.Sprintf("  %s%9s%9s%9s  %-14s%s", pad(name, nameWidth), number(f.Median), number(f.Least), number(f.Most),
		targetText(f), changeText(f, before))
	return strings.TrimRight(line, " ") + "\n"
}

func targetText(f *Figure) string {
	if f.Target == nil {
		return ""
	}
	text := "≥ "
	if f.Target.AtMost {
		text = "≤ "
	}
	text += number(f.Target.Bound)
	if f.Reached == nil {
		return text
	}
	if *f.Reached {
		return text + " yes"
	}
	return text + " NO"
}

func changeText(f *Figure, before *Row) string {
	change, ok := ChangeOf(f, before)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%+.0f %% (was %s)", change.Percent, number(change.Before))
}

// number shows three digits or so.
func number(v float64) string {
	switch size := math.Abs(v); {
	case size >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case size >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
}

// pad fills up to a width in characters, not bytes.
func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(1, width-utf8.RuneCountInString(text)))
}
