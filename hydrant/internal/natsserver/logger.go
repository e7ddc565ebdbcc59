package natsserver

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
)

// logger routes the server's log lines into slog. Notices become debug lines: there are a dozen at each start and two for
// each stream recovered, and none that asks for an action.
type logger struct {
	log *slog.Logger

	mu    sync.Mutex
	fatal error
}

var _ server.Logger = (*logger)(nil)

func (l *logger) Noticef(format string, v ...any) { l.log.Debug(line(format, v)) }
func (l *logger) Debugf(format string, v ...any)  { l.log.Debug(line(format, v)) }
func (l *logger) Tracef(format string, v ...any)  { l.log.Debug(line(format, v)) }
func (l *logger) Warnf(format string, v ...any)   { l.log.Warn(line(format, v)) }
func (l *logger) Errorf(format string, v ...any)  { l.log.Error(line(format, v)) }

// Fatalf keeps the first fatal line instead of ending the process, which the server expects of its logger: it returns from
// what it was doing right after.
func (l *logger) Fatalf(format string, v ...any) {
	text := line(format, v)
	l.log.Error(text)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fatal == nil {
		l.fatal = errors.New(text)
	}
}

// firstFatal is the first fatal error that the server reported, if any.
func (l *logger) firstFatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}

// line is the text without the indentation that the server lays its output out with.
func line(format string, v []any) string {
	return strings.TrimSpace(fmt.Sprintf(format, v...))
}
