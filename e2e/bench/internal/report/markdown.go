package report

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Markdown prints rows as they are put into a document: a table of the lines of each, and beneath it what was measured beside.
func Markdown(out io.Writer, rows []*Row) error {
	var err error
	for _, row := range rows {
		_, e := io.WriteString(out, rowMarkdown(row))
		err = errors.Join(err, e)
	}
	return err
}

func rowMarkdown(row *Row) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n**%s**: %s\n\n", row.Name, row.Title)
	if row.Error != "" {
		fmt.Fprintf(&b, "Not measured: %s\n\n", row.Error)
	}
	lines, columns := axes(row)
	if len(lines) > 0 {
		b.WriteString(tableHead(row, columns))
	}
	for _, line := range lines {
		b.WriteString("| " + line + " |")
		for n, column := range columns {
			b.WriteString(" " + cellText(row.findIn(line, column), n) + " |")
		}
		b.WriteString("\n")
	}
	b.WriteString(besideText(row))
	return b.String()
}

// axes are the lines and the columns, in the order in which they came.
func axes(row *Row) (lines, columns []string) {
	for _, f := range row.Figures {
		if f.Line == "" {
			continue
		}
		if !slices.Contains(lines, f.Line) {
			lines = append(lines, f.Line)
		}
		if !slices.Contains(columns, f.Name) {
			columns = append(columns, f.Name)
		}
	}
	return lines, columns
}

func tableHead(row *Row, columns []string) string {
	head, rule := "| |", "| --- |"
	for _, column := range columns {
		head += " " + column
		if unit := unitOf(row, column); unit != "" {
			head += ", " + unit
		}
		head, rule = head+" |", rule+" --- |"
	}
	return head + "\n" + rule + "\n"
}

func unitOf(row *Row, column string) string {
	for _, f := range row.Figures {
		if f.Line != "" && f.Name == column {
			return f.Unit
		}
	}
	return ""
}

// spread is how many columns show the least and the most of the rounds beside the median: what is compared, and its ratio.
const spread = 2

func cellText(f *Figure, column int) string {
	switch {
	case f == nil || len(f.Rounds) == 0:
		return ""
	case column < spread:
		return spreadText(f)
	}
	return number(f.Median)
}

func spreadText(f *Figure) string {
	if len(f.Rounds) == 1 {
		return number(f.Median)
	}
	return fmt.Sprintf("%s (%s–%s)", number(f.Median), number(f.Least), number(f.Most))
}

// besideText is what has no line, and the notes.
func besideText(row *Row) string {
	var parts []string
	for _, f := range row.Figures {
		if f.Line == "" && len(f.Rounds) > 0 {
			parts = append(parts, strings.TrimSpace(f.Name+": "+spreadText(f)+" "+f.Unit))
		}
	}
	text := ""
	if len(parts) > 0 {
		text = "\nBeside it, " + strings.Join(parts, "; ") + ".\n"
	}
	if len(row.Notes) > 0 {
		text += "\n" + strings.Join(row.Notes, " ") + "\n"
	}
	return text
}
