package fakeredshift

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Fault is what happens to an answer.
type Fault int

// The faults there are. They take one query with a COPY.
const (
	None   Fault = iota
	Lose         // the query is carried out, and the connection breaks instead of the answer
	Stall        // the query is carried out, and there is no answer until the test lets go
	Break        // the connection breaks before the query is carried out
	Leave        // the client's connection breaks at once, and the query is carried out to its end
	Vanish       // as Lose, and no connection is taken before Return
)

// Server is the database as its clients see it.
type Server struct {
	Address string

	t        testing.TB
	upstream string
	listener net.Listener
	running  sync.WaitGroup

	started atomic.Int64

	mu          sync.Mutex
	certificate *tls.Certificate
	do          func(copy string) string
	fault       Fault
	away        bool
	copies      []string
	conns       map[net.Conn]bool
	letGo       chan struct{}
	sent        chan struct{} // closed at the next query with a COPY
}

// Start puts a proxy before a PostgreSQL until the test ends. What do makes of a COPY is carried out instead of it.
func Start(t testing.TB, upstream *Postgres, do func(copy string) string) *Server {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{
		Address: l.Addr().String(), t: t, upstream: upstream.Address, listener: l, do: do,
		conns: map[net.Conn]bool{}, letGo: make(chan struct{}), sent: make(chan struct{}),
	}
	s.running.Go(s.accept)
	t.Cleanup(s.stop)
	return s
}

func (s *Server) stop() {
	_ = s.listener.Close()
	s.LetGo()
	s.mu.Lock()
	for conn := range s.conns {
		_ = conn.Close()
	}
	s.mu.Unlock()
	s.running.Wait()
}

// Next has something happen to the next query with a COPY. The channel is closed when that has been sent to PostgreSQL, or lost.
func (s *Server) Next(f Fault) (sent <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault, s.sent = f, make(chan struct{})
	return s.sent
}

// Away breaks all connections and takes no other until Return.
func (s *Server) Away() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = true
	for conn := range s.conns {
		_ = conn.Close()
	}
}

// Return takes connections again.
func (s *Server) Return() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = false
}

// LetGo ends the stalls there are.
func (s *Server) LetGo() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.letGo)
	s.letGo = make(chan struct{})
}

// Do has something else be done instead of a COPY from now on.
func (s *Server) Do(do func(copy string) string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.do = do
}

// Encrypt has the server encrypt from now on, with a certificate, or not at all without one.
func (s *Server) Encrypt(with *tls.Certificate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.certificate = with
}

// Started is how many clients have said who they are.
func (s *Server) Started() int { return int(s.started.Load()) }

// Copies are the COPYs that came.
func (s *Server) Copies() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.copies...)
}

// Connections is how many there are.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		if !s.take(conn) {
			_ = conn.Close()
			continue
		}
		s.running.Go(func() {
			s.serve(conn)
			_ = conn.Close()
			s.mu.Lock()
			delete(s.conns, conn)
			s.mu.Unlock()
		})
	}
}

func (s *Server) take(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return false
	}
	s.conns[conn] = true
	return true
}

// serve sees one client through: its start is passed on as it is, and after it each message is looked at.
func (s *Server) serve(client net.Conn) {
	up, err := new(net.Dialer).DialContext(context.Background(), "tcp", s.upstream)
	if err != nil {
		return
	}
	defer func() { _ = up.Close() }()
	client, err = s.startup(client, up)
	if err != nil {
		return
	}
	a := &answers{to: client}
	var passing sync.WaitGroup
	passing.Go(func() {
		_, _ = io.Copy(a, up) // until either side ends
		_ = client.Close()
		a.end()
	})
	s.queries(client, up, a)
	_ = up.Close()
	passing.Wait()
}

const (
	sslRequest    = 80877103
	cancelRequest = 80877102
)

// startup passes on how a client begins, and returns its connection, which is another where it asked for encryption and there is some.
func (s *Server) startup(client, up net.Conn) (net.Conn, error) {
	for {
		head := make([]byte, 8)
		if _, err := io.ReadFull(client, head); err != nil {
			return nil, err
		}
		code := binary.BigEndian.Uint32(head[4:])
		if code == sslRequest {
			var err error
			if client, err = s.encrypt(client); err != nil {
				return nil, err
			}
			continue
		}
		rest := make([]byte, binary.BigEndian.Uint32(head)-8)
		if _, err := io.ReadFull(client, rest); err != nil {
			return nil, err
		}
		if _, err := up.Write(append(head, rest...)); err != nil {
			return nil, err
		}
		if code == cancelRequest {
			_, _ = io.Copy(io.Discard, up) // it closes the connection
			return nil, errors.New("a request to cancel")
		}
		s.started.Add(1)
		return client, nil
	}
}

func (s *Server) encrypt(client net.Conn) (net.Conn, error) {
	s.mu.Lock()
	certificate := s.certificate
	s.mu.Unlock()
	if certificate == nil {
		_, err := client.Write([]byte("N"))
		return client, err
	}
	if _, err := client.Write([]byte("S")); err != nil {
		return nil, err
	}
	return tls.Server(client, &tls.Config{Certificates: []tls.Certificate{*certificate}, MinVersion: tls.VersionTLS12}), nil
}

// queries passes the client's messages on.
func (s *Server) queries(client, up net.Conn, a *answers) {
	from := pgproto3.NewBackend(client, io.Discard)
	_ = from.SetAuthType(pgproto3.AuthTypeSASLContinue) // a password, of whatever kind: passed on byte by byte
	for {
		m, err := from.Receive()
		if err != nil {
			return
		}
		q, ok := m.(*pgproto3.Query)
		if !ok {
			if !pass(m, up) {
				return
			}
			continue
		}
		if !s.query(q, client, up, a) {
			return
		}
	}
}

func pass(m pgproto3.FrontendMessage, up net.Conn) bool {
	data, err := m.Encode(nil)
	if err == nil {
		_, err = up.Write(data)
	}
	return err == nil
}

// query passes on a query, and what is said instead of its COPY. It returns false when the connection is to break.
func (s *Server) query(q *pgproto3.Query, client, up net.Conn, a *answers) bool {
	found := copyStatement().FindString(q.String)
	if found == "" {
		return pass(q, up)
	}
	s.mu.Lock()
	fault, sent, letGo := s.fault, s.sent, s.letGo
	s.fault = None
	s.copies = append(s.copies, found)
	do := s.do(strings.TrimSpace(found))
	s.mu.Unlock()
	if fault == Break {
		close(sent)
		return false
	}
	a.hold(fault != None)
	q.String = strings.Replace(q.String, found, do+"\n", 1)
	if !pass(q, up) {
		return false
	}
	if fault == None {
		return true
	}
	close(sent)
	if fault == Leave {
		_ = client.Close()
	}
	<-a.over
	if fault == Stall {
		<-letGo
		a.release()
		return true
	}
	if fault == Vanish {
		s.Away()
	}
	return false
}

// copyStatement matches a COPY from S3 up to the end of its line.
func copyStatement() *regexp.Regexp { return regexp.MustCompile(`COPY [^\n]* FROM 's3://[^\n]*`) }

// answers passes on what PostgreSQL answers, or holds it back.
type answers struct {
	to   io.Writer
	mu   sync.Mutex
	kept []byte
	held bool
	over chan struct{} // closed when a query whose answer is held back is over
}

func (a *answers) hold(held bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.held, a.kept, a.over = held, nil, make(chan struct{})
}

func (a *answers) release() {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, _ = a.to.Write(a.kept) // to a client that may have gone
	a.held, a.kept = false, nil
}

// Write implements io.Writer.
func (a *answers) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.held {
		return a.to.Write(p)
	}
	a.kept = append(a.kept, p...)
	if ready(a.kept) {
		a.finish()
	}
	return len(p), nil
}

// end says that there will be no more.
func (a *answers) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over != nil {
		a.finish()
	}
}

func (a *answers) finish() {
	select {
	case <-a.over:
	default:
		close(a.over)
	}
}

// ready tells that the last message of an answer is there: PostgreSQL is ready for the next query.
func ready(data []byte) bool {
	for len(data) >= 5 {
		length := int(binary.BigEndian.Uint32(data[1:])) + 1
		if len(data) < length {
			return false
		}
		if data[0] == 'Z' {
			return true
		}
		data = data[length:]
	}
	return false
}
