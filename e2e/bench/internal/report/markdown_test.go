package report

import (
	"strings"
	"testing"
)

func TestMarkdown(t *testing.T) {
	row := &Row{Name: "scale", Title: "how it scales"}
	row.Beside("the disk", "MB/s").Add(300)
	for _, rate := range []float64{100, 120, 110} {
		row.Cell("1 replica", "rate", "MB/s").Add(rate)
	}
	row.Cell("1 replica", "NATS", "").Add(0.5)
	row.Cell("2 replicas", "rate", "MB/s").Add(150)
	row.Cell("2 replicas", "of one", "").Add(1.5)
	row.Note("It is so.")
	row.Finish()
	var out strings.Builder
	if err := Markdown(&out, []*Row{row, {Name: "other", Title: "title", Error: "it broke"}}); err != nil {
		t.Fatal(err)
	}
	want := `
**scale**: how it scales

| | rate, MB/s | NATS | of one |
| --- | --- | --- | --- |
| 1 replica | 110 (100–120) | 0.50 |  |
| 2 replicas | 150 |  | 1.50 |

Beside it, the disk: 300 MB/s.

It is so.

**other**: title

Not measured: it broke

`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}

func TestCellsOfTwoLinesAreTwo(t *testing.T) {
	row := &Row{}
	row.Cell("a", "rate", "").Add(1)
	row.Cell("b", "rate", "").Add(2)
	row.Figure("rate", "").Add(3)
	if len(row.Figures) != 3 || row.findIn("b", "rate").Rounds[0] != 2 || row.find("rate").Rounds[0] != 3 {
		t.Errorf("the figures are %+v", row.Figures)
	}
	if text := rowText(row, nil); !strings.Contains(text, "b: rate") {
		t.Errorf("the table is:\n%s", text)
	}
}
