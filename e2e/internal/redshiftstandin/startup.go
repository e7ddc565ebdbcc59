package redshiftstandin

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// patience is how long a client may take to say who it is.
const patience = 30 * time.Second

// maxMessage is how long a message from a client may be: a query, or the values of one.
const maxMessage = 64 << 20

// open reads what a new connection is for. It returns a session that is not authenticated, or nil if there is none to be.
func (s *Server) open(hard context.Context, conn net.Conn) (*session, error) {
	_ = conn.SetDeadline(time.Now().Add(patience))
	client := pgproto3.NewBackend(conn, conn)
	for {
		message, err := client.ReceiveStartupMessage()
		if err != nil {
			return nil, fmt.Errorf("start: %w", err)
		}
		switch m := message.(type) {
		case *pgproto3.SSLRequest:
			if conn, err = s.answerTLS(hard, conn); err != nil {
				return nil, err
			}
			client = pgproto3.NewBackend(conn, conn)
		case *pgproto3.GSSEncRequest:
			if _, err := conn.Write([]byte("N")); err != nil {
				return nil, fmt.Errorf("start: %w", err)
			}
		case *pgproto3.CancelRequest:
			return nil, s.cancel(hard, m)
		case *pgproto3.StartupMessage:
			return s.connect(hard, conn, client, m)
		}
	}
}

// answerTLS goes on with TLS, if there is a certificate.
func (s *Server) answerTLS(hard context.Context, conn net.Conn) (net.Conn, error) {
	if s.tls == nil {
		_, err := conn.Write([]byte("N"))
		return conn, err
	}
	if _, err := conn.Write([]byte("S")); err != nil {
		return nil, fmt.Errorf("start TLS: %w", err)
	}
	secured := tls.Server(conn, s.tls)
	if err := secured.HandshakeContext(hard); err != nil {
		return nil, fmt.Errorf("start TLS: %w", err)
	}
	return secured, nil
}

// cancel passes a CancelRequest on, and ends the COPY that the stand-in itself does for the session.
func (s *Server) cancel(hard context.Context, m *pgproto3.CancelRequest) error {
	s.cancelCopy(cancelKey{m.ProcessID, string(m.SecretKey)})
	upstream, err := s.dial(hard)
	if err != nil {
		return err
	}
	defer func() { _ = upstream.Close() }()
	request, err := m.Encode(nil)
	if err != nil {
		return fmt.Errorf("cancel: %w", err)
	}
	_, err = upstream.Write(request)
	return err
}

func (s *Server) dial(hard context.Context) (net.Conn, error) {
	dialer := net.Dialer{Timeout: 10 * time.Second}
	conn, err := dialer.DialContext(hard, "tcp", s.config.Upstream)
	if err != nil {
		return nil, fmt.Errorf("the PostgreSQL behind: %w", err)
	}
	return conn, nil
}

// connect opens the connection to PostgreSQL that is the client's from now on.
func (s *Server) connect(hard context.Context, conn net.Conn, client *pgproto3.Backend, m *pgproto3.StartupMessage) (*session, error) {
	client.SetMaxBodyLen(maxMessage)
	upstreamConn, err := s.dial(hard)
	if err != nil {
		client.Send((&dbError{severity: "FATAL", code: codeUnreachable, message: err.Error()}).response())
		_ = client.Flush()
		return nil, err
	}
	start := &pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: parameters(m.Parameters)}
	upstream := pgproto3.NewFrontend(upstreamConn, upstreamConn)
	upstream.Send(start)
	if err := upstream.Flush(); err != nil {
		_ = upstreamConn.Close()
		return nil, fmt.Errorf("the PostgreSQL behind: %w", err)
	}
	user, database := m.Parameters["user"], m.Parameters["database"]
	if database == "" {
		database = user
	}
	return &session{
		server: s, log: s.log.With("client", conn.RemoteAddr(), "user", user, "database", database),
		conn: conn, client: client, upstreamConn: upstreamConn, upstream: upstream, user: user, database: database, last: nothingYet(),
	}, nil
}

// parameters are the client's, without those that only Redshift knows and its drivers send, and with Redshift's isolation.
func parameters(of map[string]string) map[string]string {
	to := map[string]string{}
	for name, value := range of {
		switch name {
		case "client_protocol_version", "driver_version", "os_version", "plugin_name", "default_transaction_isolation":
		default:
			to[name] = value
		}
	}
	to["default_transaction_isolation"] = "repeatable read"
	return to
}

// authenticate passes on what PostgreSQL and the client say to each other until PostgreSQL is ready for queries. So passwords
// are PostgreSQL's matter, and a wrong one is its error.
func (s *session) authenticate(hard context.Context) error {
	for {
		message, err := s.upstream.Receive()
		if err != nil {
			return fmt.Errorf("authenticate: %w", err)
		}
		switch m := message.(type) {
		case *pgproto3.ReadyForQuery:
			return s.welcome(hard, m)
		case *pgproto3.BackendKeyData:
			s.key = cancelKey{m.ProcessID, string(m.SecretKey)}
		}
		s.client.Send(message)
		if err := s.client.Flush(); err != nil {
			return fmt.Errorf("authenticate: %w", err)
		}
		if _, refused := message.(*pgproto3.ErrorResponse); refused {
			return nil
		}
		if err := s.passAnswer(message); err != nil {
			return fmt.Errorf("authenticate: %w", err)
		}
	}
}

// passAnswer passes the client's answer on, if PostgreSQL waits for one.
func (s *session) passAnswer(asked pgproto3.BackendMessage) error {
	kind, waits := answerKind(asked)
	if !waits {
		return nil
	}
	if err := s.client.SetAuthType(kind); err != nil {
		return err
	}
	answer, err := s.client.Receive()
	if err != nil {
		return err
	}
	s.upstream.Send(answer)
	return s.upstream.Flush()
}

// answerKind is how the answer to a request of PostgreSQL has to be read, if there is to be one.
func answerKind(asked pgproto3.BackendMessage) (uint32, bool) {
	switch asked.(type) {
	case *pgproto3.AuthenticationCleartextPassword:
		return pgproto3.AuthTypeCleartextPassword, true
	case *pgproto3.AuthenticationMD5Password:
		return pgproto3.AuthTypeMD5Password, true
	case *pgproto3.AuthenticationSASL:
		return pgproto3.AuthTypeSASL, true
	case *pgproto3.AuthenticationSASLContinue:
		return pgproto3.AuthTypeSASLContinue, true
	}
	return 0, false
}

// welcome makes the database's system tables, and lets the client begin.
func (s *session) welcome(hard context.Context, ready *pgproto3.ReadyForQuery) error {
	if err := s.server.catalog.prepare(hard, s.database); err != nil {
		s.log.Error("cannot make the system tables", "error", err)
		s.client.Send((&dbError{severity: "FATAL", code: codeDataLoad, message: err.Error()}).response())
		return s.client.Flush()
	}
	s.welcomed, s.status = true, ready.TxStatus
	_ = s.conn.SetDeadline(time.Time{})
	s.client.Send(ready)
	return s.client.Flush()
}
