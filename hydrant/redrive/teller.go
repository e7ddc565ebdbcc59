package redrive

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"hydrant/hydrant/internal/text"
	"hydrant/shared/delivery"
	"hydrant/shared/names"
	"hydrant/shared/redrive"
)

// teller tells what becomes of each object: people on the way, programs in JSON.
type teller struct {
	progress  io.Writer
	documents io.Writer // nil where nobody wants JSON
	dry       bool
	now       func() time.Time

	candidates, number int
	begun              time.Time
	failed             error // to write
}

func (t *teller) found(candidates int) {
	t.candidates, t.begun = candidates, t.now()
	if t.documents == nil && candidates > 0 {
		t.say(plural(candidates, "object") + " to look at")
	}
}

// say writes a line, in which nothing of what others wrote can pass for a command to the terminal.
func (t *teller) say(line string) {
	if _, err := fmt.Fprintln(t.progress, text.Wrapped(line, math.MaxInt)); err != nil {
		t.failed = err
	}
}

func (t *teller) tell(s redrive.Step) {
	t.number++
	if t.documents != nil {
		t.failed = errors.Join(t.failed, json.NewEncoder(t.documents).Encode(documentOf(s, t.dry)))
		return
	}
	t.say(fmt.Sprintf("%d of %d: %s: %s", t.number, t.candidates, s.Item.Object, line(s, t.dry)))
}

// line is what became of an object, for people.
func line(s redrive.Step, dry bool) string {
	var parts []string
	if dry {
		parts = append(parts, fmt.Sprintf("%s, set aside %s", plural(s.Item.Records(), "record"), s.Item.At.UTC().Format(time.RFC3339)))
		if code := s.Item.Object.Metadata[redrive.MetadataCode]; code != "" {
			parts = append(parts, "because of "+code+": "+s.Item.Object.Metadata[redrive.MetadataReason])
		}
		return strings.Join(parts, ", ")
	}
	parts = append(parts, counts(s.Outcome.Delivered, s.Outcome.Already, s.Outcome.Left))
	switch {
	case s.Aside != "" && s.Outcome.Rest != "":
		parts = append(parts, "moved to "+s.Aside, "what is left is in "+s.Outcome.Rest)
	case s.Aside != "":
		parts = append(parts, "moved to "+s.Aside)
	default:
		parts = append(parts, "left where it is")
	}
	if s.Outcome.Why != nil && s.Err == nil { // that is told at last
		parts = append(parts, reason(s.Outcome.Why))
	}
	return strings.Join(parts, "; ")
}

func counts(delivered, already, left int) string {
	line := plural(delivered, "record") + " delivered"
	if already > 0 {
		line += fmt.Sprintf(", %d delivered before", already)
	}
	if left > 0 {
		line += fmt.Sprintf(", %d not delivered", left)
	}
	return line
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// reason is what went wrong in the code's words and the server's.
func reason(e *delivery.Error) string {
	if e.Err == nil || e.Message == "" {
		return e.Error()
	}
	return fmt.Sprintf("%s: %s (%v)", e.Code, e.Message, e.Err)
}

// explained is an error with what its code means beside what the server said.
func explained(err error) error {
	var known *delivery.Error
	if !errors.As(err, &known) || known.Message == "" {
		return err
	}
	return fmt.Errorf("%w\n%s", err, known.Message)
}

// document is what became of an object, for programs.
type document struct {
	Object  string    `json:"object"`
	At      time.Time `json:"at"`
	Size    int64     `json:"size"`
	Records int       `json:"records"`
	Code    string    `json:"code,omitempty"` // why it was set aside
	Reason  string    `json:"reason,omitempty"`

	DryRun    bool   `json:"dry_run,omitempty"`
	Delivered int    `json:"delivered"`
	Already   int    `json:"already"`
	Left      int    `json:"left"`
	Aside     string `json:"aside,omitempty"` // where it is now
	Rest      string `json:"rest,omitempty"`  // where what is left is
	ErrorCode string `json:"error_code,omitempty"`
	Error     string `json:"error,omitempty"`
}

func documentOf(s redrive.Step, dry bool) document {
	d := document{
		Object: s.Item.Object.String(), At: s.Item.At.UTC(), Size: s.Item.Size, Records: s.Item.Records(), DryRun: dry,
		Code: s.Item.Object.Metadata[redrive.MetadataCode], Reason: s.Item.Object.Metadata[redrive.MetadataReason],
		Delivered: s.Outcome.Delivered, Already: s.Outcome.Already, Left: s.Outcome.Left, Aside: s.Aside, Rest: s.Outcome.Rest,
	}
	var why *delivery.Error
	if errors.As(s.Err, &why) || s.Err == nil && s.Outcome.Why != nil {
		if why == nil {
			why = s.Outcome.Why
		}
		d.ErrorCode, d.Error = why.Code, reason(why)
	} else if s.Err != nil {
		d.Error = s.Err.Error()
	}
	return d
}

// sum tells what became of all.
func (t *teller) sum(stdout io.Writer, stream names.Stream, r redrive.Report) error {
	var err error
	if t.documents != nil {
		err = json.NewEncoder(t.documents).Encode(struct {
			Stream names.Stream   `json:"stream"`
			Report redrive.Report `json:"report"`
		}{stream, r})
	} else {
		_, err = io.WriteString(stdout, t.summary(stream, r))
	}
	return errors.Join(t.failed, err)
}

func (t *teller) summary(stream names.Stream, r redrive.Report) string {
	var lines []string
	add := func(format string, values ...any) { lines = append(lines, fmt.Sprintf(format, values...)+"\n") }
	switch {
	case r.Items == 0:
		add("nothing of %s is set aside there", stream)
	case r.DryRun:
		add("%s of %s set aside, with %s; nothing was changed", plural(r.Items, "object"), stream, plural(r.Records, "record"))
	default:
		add("%s: %s; %s done, %d left, in %s", stream, counts(r.Delivered, r.Already, r.Left), plural(r.Done, "object"), r.Kept,
			t.now().Sub(t.begun).Round(time.Millisecond))
	}
	if r.Partly > 0 {
		add("%d of them in part: what is left is in a new object", r.Partly)
	}
	if r.Others > 0 {
		add("not touched: %s with such a name that another delivery stream wrote, or nobody is said to have written", plural(r.Others, "object"))
	}
	if r.More {
		add("there may be more: --limit ended it")
	}
	return strings.Join(lines, "")
}
