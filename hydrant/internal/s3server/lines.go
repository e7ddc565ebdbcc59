package s3server

import (
	"bytes"
	"strings"
)

// maxLine bounds what is kept of a line that does not end.
const maxLine = 64 << 10

// lineLogger makes log entries of the lines that are written to it. One goroutine writes to it at a time.
type lineLogger struct {
	log  func(msg string, args ...any)
	part []byte
	last string // the last line that was not empty
}

func (l *lineLogger) Write(p []byte) (int, error) {
	n := len(p)
	for {
		line, rest, ended := bytes.Cut(p, []byte("\n"))
		l.part = append(l.part, line...)
		if ended || len(l.part) >= maxLine {
			l.flush()
		}
		if !ended {
			return n, nil
		}
		p = rest
	}
}

// flush logs what has come without an end of line.
func (l *lineLogger) flush() {
	if line := strings.TrimSpace(withoutColours(string(l.part))); line != "" {
		l.last = line
		l.log("S3 server says", "line", line)
	}
	l.part = l.part[:0]
}

// withoutColours takes out the escape sequences that versitygw colours its errors with, ESC [ … m.
func withoutColours(s string) string {
	var out strings.Builder
	for {
		before, after, found := strings.Cut(s, "\x1b[")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		_, s, _ = strings.Cut(after, "m")
	}
}
