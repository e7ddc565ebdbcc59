// Package logtest is test support: logs of tests, and logs that tests read. Nothing but tests may import it.
package logtest

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"sync"
	"testing"
)

// New returns the log of a test, which is on standard error where tests are verbose.
func New(t testing.TB) *slog.Logger {
	out := io.Discard
	if testing.Verbose() {
		out = os.Stderr
	}
	return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug})).With("test", t.Name())
}

// Lines is what was written to a log, by any number of goroutines.
type Lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write writes to the log.
func (l *Lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String returns all of it.
func (l *Lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
