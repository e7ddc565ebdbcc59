package main

import (
	"fmt"
	"io"
	"time"
)

// progress tells what runs, and how long it has been and will be.
type progress struct {
	out      io.Writer
	began    time.Time
	estimate time.Duration
	row      string
}

func (p *progress) say(format string, args ...any) {
	row := ""
	if p.row != "" {
		row = p.row + ": "
	}
	_, _ = fmt.Fprintf(p.out, "[%s of about %s] %s%s\n", clock(time.Since(p.began)), clock(p.estimate), row, fmt.Sprintf(format, args...))
}

// clock shows minutes and seconds.
func clock(d time.Duration) string {
	s := int(d.Round(time.Second).Seconds())
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}
