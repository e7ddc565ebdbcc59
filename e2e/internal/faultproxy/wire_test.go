package faultproxy_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"hydrant/e2e/internal/faultproxy"
)

// database speaks PostgreSQL's protocol, and does nothing with the queries that it gets but remember them.
type database struct {
	t      *testing.T
	socket net.Listener
	served sync.WaitGroup
	before func() bool // called when a query has come; false has the database hang up

	mu      sync.Mutex
	queries []string
	gone    int // clients that have left
}

func newDatabase(t *testing.T) *database {
	t.Helper()
	socket, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &database{t: t, socket: socket, before: func() bool { return true }}
	t.Cleanup(func() { _ = socket.Close(); d.served.Wait() })
	d.served.Go(func() {
		for {
			conn, err := socket.Accept()
			if err != nil {
				return
			}
			d.served.Go(func() { d.serve(conn) })
		}
	})
	return d
}

func (d *database) serve(conn net.Conn) {
	defer func() {
		_ = conn.Close()
		d.mu.Lock()
		defer d.mu.Unlock()
		d.gone++
	}()
	client := pgproto3.NewBackend(conn, conn)
	if _, err := client.ReceiveStartupMessage(); err != nil {
		return
	}
	client.Send(&pgproto3.AuthenticationOk{})
	client.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	for client.Flush() == nil {
		m, err := client.Receive()
		if err != nil {
			return
		}
		if query, ok := m.(*pgproto3.Query); ok {
			if !d.before() {
				return
			}
			d.mu.Lock()
			d.queries = append(d.queries, query.String)
			d.mu.Unlock()
			client.Send(&pgproto3.NoticeResponse{Message: "loaded"})
			client.Send(&pgproto3.CommandComplete{CommandTag: []byte("COPY")})
			client.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		}
	}
}

func (d *database) ran() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.queries)
}

func (d *database) left() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.gone
}

func newWire(t *testing.T, settings faultproxy.WireSettings) (*faultproxy.Wire, *database) {
	t.Helper()
	d := newDatabase(t)
	w, err := faultproxy.NewWire(1, d.socket.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	if err := w.Set(settings); err != nil {
		t.Fatal(err)
	}
	return w, d
}

func connectTo(t *testing.T, w *faultproxy.Wire) *pgconn.PgConn {
	t.Helper()
	conn, err := pgconn.Connect(t.Context(), "postgres://u@"+w.Addr()+"/d?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

const copies = "BEGIN; COPY t FROM 's3://b/k'; COMMIT"

func query(t *testing.T, conn *pgconn.PgConn, sql string) error {
	t.Helper()
	_, err := conn.Exec(t.Context(), sql).ReadAll()
	return err
}

// Whatever is no COPY passes, and after a fault that broke the connection a new one works.
func TestWireFaults(t *testing.T) {
	for fault, test := range map[faultproxy.Fault]struct {
		settings faultproxy.WireSettings
		carried  bool
	}{
		faultproxy.ResetBefore: {faultproxy.WireSettings{ResetBefore: 1}, false},
		faultproxy.ResetAfter:  {faultproxy.WireSettings{ResetAfter: 1}, true},
		faultproxy.HeldAnswer:  {faultproxy.WireSettings{HeldAnswer: 1, MaxHold: time.Millisecond}, true},
		faultproxy.Truncated:   {faultproxy.WireSettings{Truncated: 1}, true},
	} {
		t.Run(string(fault), func(t *testing.T) {
			w, d := newWire(t, test.settings)
			conn := connectTo(t, w)
			if err := query(t, conn, "SELECT 1"); err != nil {
				t.Fatal(err)
			}
			if err := query(t, conn, copies); err == nil {
				t.Error("the answer came")
			}
			if got := slices.Contains(d.ran(), copies); got != test.carried {
				t.Errorf("carried out: %v", d.ran())
			}
			if got := w.CountsOf(faultproxy.Copy); got[fault] != 1 || len(got) != 1 {
				t.Errorf("counted %v", got)
			}
			w.SetAll(false)
			if err := query(t, connectTo(t, w), copies); err != nil {
				t.Errorf("with the faults off: %v", err)
			}
			if open := w.Open(faultproxy.Copy); open != 0 {
				t.Errorf("%d are open", open)
			}
		})
	}
}

// A connection that is cut reaches the database as one whose client is gone.
func TestWireCutInside(t *testing.T) {
	w, d := newWire(t, faultproxy.WireSettings{CutInside: 1})
	if err := query(t, connectTo(t, w), copies); err == nil {
		t.Error("the answer came")
	}
	eventually(t, "the database's connection is gone", func() bool { return d.left() > 0 })
	if got := w.CountsOf(faultproxy.Copy)[faultproxy.CutInside]; got != 1 {
		t.Errorf("counted %v", w.Counts())
	}
}

// Of all connections those are cut that wait for a COPY.
func TestWireCut(t *testing.T) {
	w, d := newWire(t, faultproxy.WireSettings{})
	idle, conn := connectTo(t, w), connectTo(t, w)
	held, release := make(chan struct{}), make(chan struct{})
	var once atomic.Bool
	d.before = func() bool {
		if once.CompareAndSwap(false, true) {
			close(held)
			<-release
		}
		return true
	}
	ended := make(chan error, 1)
	go func() {
		_, err := conn.Exec(t.Context(), copies).ReadAll()
		ended <- err
	}()
	<-held
	w.Cut()
	if err := <-ended; err == nil {
		t.Error("the answer came")
	}
	close(release)
	if err := query(t, idle, copies); err != nil {
		t.Errorf("the other connection: %v", err)
	}
	if got := w.CountsOf(faultproxy.Copy); got[faultproxy.CutInside] != 1 || got[faultproxy.Forwarded] != 1 {
		t.Errorf("counted %v", got)
	}
}

// A client that goes away while its query runs takes its connection to the database along, and is counted.
func TestWireClientLeaves(t *testing.T) {
	w, d := newWire(t, faultproxy.WireSettings{})
	held, release := make(chan struct{}), make(chan struct{})
	d.before = func() bool { close(held); <-release; return true }
	conn := connectTo(t, w)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = conn.Exec(t.Context(), copies).ReadAll()
	}()
	<-held
	if open := w.Open(faultproxy.Copy); open != 1 {
		t.Errorf("%d are open", open)
	}
	_ = conn.Conn().Close()
	<-ended
	eventually(t, "the client is counted", func() bool { return w.CountsOf(faultproxy.Copy)[faultproxy.CopierLost] == 1 })
	close(release)
	eventually(t, "the database's connection is gone", func() bool { return d.left() > 0 })
	if open := w.Open(faultproxy.Copy); open != 0 {
		t.Errorf("%d are open", open)
	}
}

// The hook knows the client, and when nothing was carried out yet and when all was.
func TestWireHook(t *testing.T) {
	w, d := newWire(t, faultproxy.WireSettings{})
	conn := connectTo(t, w)
	var seen []string
	w.OnRequest(func(phase faultproxy.Phase, kind faultproxy.Kind, client string) {
		seen = append(seen, fmt.Sprint(phase, " ", kind, " ", client, " ", len(d.ran())))
	})
	for _, sql := range []string{"SELECT 1", copies} {
		if err := query(t, conn, sql); err != nil {
			t.Fatal(err)
		}
	}
	from := conn.Conn().LocalAddr()
	want := []string{fmt.Sprintf("before forward COPY %s 1", from), fmt.Sprintf("before answer COPY %s 2", from)}
	if !slices.Equal(seen, want) {
		t.Errorf("got  %q\nwant %q", seen, want)
	}
}

// A fault that is forced falls on the next COPY, and on that alone.
func TestWireForce(t *testing.T) {
	w, _ := newWire(t, faultproxy.WireSettings{})
	had, withdraw := w.Force(faultproxy.ResetAfter, faultproxy.Copy)
	defer withdraw()
	if err := query(t, connectTo(t, w), copies); err == nil {
		t.Error("the answer came")
	}
	<-had
	if err := query(t, connectTo(t, w), copies); err != nil {
		t.Error(err)
	}
}

// A database that goes away is counted, and without one a client is turned away.
func TestWireDatabaseLost(t *testing.T) {
	w, d := newWire(t, faultproxy.WireSettings{})
	d.before = func() bool { return false }
	if err := query(t, connectTo(t, w), copies); err == nil {
		t.Error("an answer came from nobody")
	}
	if got := w.CountsOf(faultproxy.Copy)[faultproxy.DatabaseLost]; got != 1 {
		t.Errorf("counted %v", w.Counts())
	}
	_ = d.socket.Close()
	if _, err := pgconn.Connect(t.Context(), "postgres://u@"+w.Addr()+"/d?sslmode=disable"); err == nil {
		t.Error("connected to nothing")
	}
}

func TestWireSettingsValidate(t *testing.T) {
	w, _ := newWire(t, faultproxy.WireSettings{})
	for _, bad := range []faultproxy.WireSettings{{CutInside: -1}, {ResetAfter: 0.6, Truncated: 0.6}, {MaxHold: -1}} {
		if err := w.Set(bad); err == nil {
			t.Errorf("accepted %+v", bad)
		}
	}
}

func FuzzReadMessage(f *testing.F) {
	f.Add([]byte{'Q', 0, 0, 0, 5, 0}, true)
	f.Add([]byte{0, 0, 0, 8, 4, 210, 22, 47}, false)
	f.Fuzz(func(t *testing.T, data []byte, typed bool) {
		header := 0
		if typed {
			header = 1
		}
		m, err := faultproxy.ReadMessage(bytes.NewReader(data), header)
		if err == nil && !bytes.HasPrefix(data, m) {
			t.Errorf("read %q of %q", m, data)
		}
	})
}
