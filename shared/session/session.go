// Package session opens what every service needs of NATS before it can work: the connection, the installation's streams
// and buckets, and the catalog with a view of it. A service starts while NATS is away; it waits, and is not ready.
package session

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/broker"
	"hydrant/shared/catalog"
	"hydrant/shared/format"
)

// Session is a service's session with NATS. Its zero value is one that is not open yet.
type Session struct {
	// Refused is told which delivery streams are left alone, because a newer version wrote their documents. It may be nil.
	Refused *format.Refused

	conn atomic.Pointer[nats.Conn]
	view atomic.Pointer[catalog.View]
}

// Handles are what an open session gives.
type Handles struct {
	Conn      *nats.Conn
	JetStream jetstream.JetStream
	Catalog   *catalog.Catalog
	View      *catalog.View // empty until somebody runs it
}

// Ready returns what keeps a service from its work: NATS is away, or the catalog has not been read lately.
func (s *Session) Ready() error {
	if conn := s.conn.Load(); conn == nil || !conn.IsConnected() {
		return errors.New("not connected to NATS")
	}
	view := s.view.Load()
	if view == nil {
		return errors.New("the catalog has not been read")
	}
	return view.Ready()
}

// View returns the view of the catalog, or nil before the session is open.
func (s *Session) View() *catalog.View { return s.view.Load() }

// Open waits until NATS is there and everything is prepared. It fails when ctx ends, and when waiting would not help: a
// wrong setting, or a server that does not keep what it acknowledges. The caller closes the connection.
func (s *Session) Open(ctx context.Context, cfg broker.Config, name string, log *slog.Logger) (Handles, error) {
	conn, err := broker.Connect(cfg, name, log)
	if err != nil {
		return Handles{}, err
	}
	s.conn.Store(conn)
	h, err := prepare(ctx, conn, cfg, log)
	if err != nil {
		conn.Close()
		return Handles{}, err
	}
	h.View.Refused = s.Refused
	s.view.Store(h.View)
	return h, nil
}

func prepare(ctx context.Context, conn *nats.Conn, cfg broker.Config, log *slog.Logger) (Handles, error) {
	js, err := jetstream.New(conn)
	if err != nil {
		return Handles{}, err
	}
	if err := broker.Prepare(ctx, js, cfg, log); err != nil {
		return Handles{}, err
	}
	h := Handles{Conn: conn, JetStream: js}
	err = Persist(ctx, log, func() (err error) {
		h.Catalog, err = catalog.Open(ctx, js)
		return err
	})
	if err != nil {
		return Handles{}, err
	}
	h.View = catalog.NewView(h.Catalog, log)
	return h, nil
}

// Persist repeats what NATS may not be ready for, until it succeeds or ctx ends.
func Persist(ctx context.Context, log *slog.Logger, try func() error) error {
	for attempt := 0; ; attempt++ {
		err := try()
		if err == nil || ctx.Err() != nil {
			return err
		}
		if attempt%20 == 0 {
			log.Warn("waiting for JetStream", "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(250 * time.Millisecond):
		}
	}
}
