package redshiftstandin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Transaction states, as ReadyForQuery has them.
const (
	idle          = byte('I')
	inTransaction = byte('T')
	inFailed      = byte('E')
)

// errGone ends a session whose client is gone.
var errGone = errors.New("the client is gone")

// session is a client and its connection to PostgreSQL. One goroutine does all but reading from the two.
type session struct {
	server         *Server
	log            *slog.Logger
	user, database string
	conn           net.Conn
	client         *pgproto3.Backend
	upstreamConn   net.Conn
	upstream       *pgproto3.Frontend
	key            cancelKey

	welcomed     bool
	status       byte // of the transaction
	last         lastQuery
	hard         context.Context //nolint:containedctx // it ends with the session, and is what the session was given
	fromClient   *inbox[pgproto3.FrontendMessage]
	fromUpstream *inbox[pgproto3.BackendMessage]
	owed         int  // answers with a ReadyForQuery that PostgreSQL still owes the client
	unsynced     bool // the client has begun an extended query, and not ended it with Sync
	skipping     bool // that query was refused: what belongs to it is passed over
}

// lastQuery is what pg_last_query_id and its like return.
type lastQuery struct{ copyID, copyCount, queryID int64 }

func nothingYet() lastQuery { return lastQuery{-1, -1, -1} }

// run passes messages on until the client leaves, PostgreSQL does, or the stand-in ends.
func (s *session) run(ctx, hard context.Context) error {
	if !s.welcomed {
		return nil
	}
	s.hard = hard
	s.fromClient, s.fromUpstream = newInbox[pgproto3.FrontendMessage](), newInbox[pgproto3.BackendMessage]()
	done := make(chan struct{})
	var readers sync.WaitGroup
	readers.Go(func() { s.fromClient.read(s.receiveFromClient, done) })
	readers.Go(func() { s.fromUpstream.read(s.upstream.Receive, done) })
	err := s.pass(ctx)
	close(done)
	_ = s.conn.Close()
	_ = s.upstreamConn.Close()
	readers.Wait()
	return err
}

// receiveFromClient takes a farewell for the end of the connection, which it is followed by.
func (s *session) receiveFromClient() (pgproto3.FrontendMessage, error) {
	message, err := s.client.Receive()
	if err != nil {
		return nil, err
	}
	if _, leaves := message.(*pgproto3.Terminate); leaves {
		return nil, errGone
	}
	return message, nil
}

func (s *session) pass(ctx context.Context) error {
	for {
		s.fromClient.release()
		s.fromUpstream.release()
		closing := ctx.Done()
		if s.owed > 0 || s.unsynced {
			closing = nil // it is in the middle of something
		}
		var err error
		select {
		case m := <-s.fromClient.messages:
			s.fromClient.held = true
			err = s.fromHere(m)
		case m := <-s.fromUpstream.messages:
			s.fromUpstream.held = true
			err = s.relay(m)
		case <-s.fromClient.gone:
			return s.fromClient.err
		case <-s.fromUpstream.gone:
			return fmt.Errorf("the PostgreSQL behind: %w", s.fromUpstream.err)
		case <-closing:
			return s.tell((&dbError{
				severity: "FATAL", code: codeShutdown, message: "terminating connection due to administrator command",
			}).response())
		}
		if err != nil {
			return err
		}
	}
}

// tell sends the client a message.
func (s *session) tell(m pgproto3.BackendMessage) error {
	s.client.Send(m)
	return s.client.Flush()
}

// ask sends PostgreSQL a message.
func (s *session) ask(m pgproto3.FrontendMessage) error {
	s.upstream.Send(m)
	if err := s.upstream.Flush(); err != nil {
		return fmt.Errorf("the PostgreSQL behind: %w", err)
	}
	return nil
}

// relay passes on what PostgreSQL says.
func (s *session) relay(m pgproto3.BackendMessage) error {
	ready, isReady := m.(*pgproto3.ReadyForQuery)
	if isReady {
		s.status = ready.TxStatus
		s.owed = max(0, s.owed-1)
	}
	s.client.Send(m)
	if !isReady && s.upstream.ReadBufferLen() > 0 {
		return nil // more is on its way
	}
	return s.client.Flush()
}

// fromHere passes on what the client says, and sees to queries.
func (s *session) fromHere(m pgproto3.FrontendMessage) error {
	_, isSync := m.(*pgproto3.Sync)
	if s.skipping && !isSync {
		return nil
	}
	switch m := m.(type) {
	case *pgproto3.Query:
		sql := m.String
		s.fromClient.release() // so that it is noticed when the client goes while its query runs
		return s.query(sql)
	case *pgproto3.Parse:
		refused, err := s.parse(m)
		if err != nil {
			return err
		}
		s.unsynced = true
		if refused != nil {
			s.skipping = true
			return s.tell(refused.response())
		}
	case *pgproto3.Sync:
		return s.sync(m)
	case *pgproto3.Flush:
	default:
		s.unsynced = true
	}
	return s.ask(m)
}

// sync ends an extended query. If the stand-in has refused it, the transaction that it is in has failed.
func (s *session) sync(m *pgproto3.Sync) error {
	if s.skipping && s.status == inTransaction && s.owed == 0 {
		if _, _, err := s.hidden(raise(failed(codeDataLoad, "the Redshift stand-in refused a statement"))); err != nil {
			return err
		}
	}
	s.skipping, s.unsynced = false, false
	s.owed++
	return s.ask(m)
}

// parse makes an extended query's text what PostgreSQL is to run, or refuses it. A COPY comes as a simple query only.
func (s *session) parse(m *pgproto3.Parse) (refused *dbError, err error) {
	statements, err := split(m.Query)
	if err != nil || len(statements) != 1 {
		return nil, nil //nolint:nilerr // PostgreSQL will say so
	}
	if mentions(statements) && s.owed == 0 && !s.unsynced {
		if err := s.showLast(); err != nil {
			return nil, err
		}
	}
	if statements[0].begins("copy") {
		return unsupported("COPY with parameters or as a prepared statement"), nil
	}
	text, refused := rewrite(statements[0])
	if refused == nil {
		m.Query = text
	}
	return refused, nil
}

// query runs a query string: as a whole, or where the stand-in does some of it statement by statement.
func (s *session) query(sql string) error {
	statements, err := split(sql)
	if err != nil {
		return s.forward(sql) // PostgreSQL will say so
	}
	if mentions(statements) {
		if err := s.showLast(); err != nil {
			return err
		}
	}
	s.last.queryID = s.server.catalog.nextID()
	var edits []edit
	for _, st := range statements {
		text, refused := rewrite(st)
		if refused != nil || st.begins("copy") {
			return s.runEach(statements)
		}
		edits = append(edits, edit{st.start(), st.end(), text})
	}
	return s.forward(apply(sql, edits))
}

func (s *session) forward(sql string) error {
	s.owed++
	return s.ask(&pgproto3.Query{String: sql})
}

// receive waits for PostgreSQL's next message. It holds until the next call.
func (s *session) receive() (pgproto3.BackendMessage, error) {
	s.fromUpstream.release()
	select {
	case m := <-s.fromUpstream.messages:
		s.fromUpstream.held = true
		return m, nil
	case <-s.fromUpstream.gone:
		return nil, fmt.Errorf("the PostgreSQL behind: %w", s.fromUpstream.err)
	}
}

// settle passes on what PostgreSQL still owes the client, so that what is received after it is of another query.
func (s *session) settle() error {
	for s.owed > 0 {
		m, err := s.receive()
		if err != nil {
			return err
		}
		if err := s.relay(m); err != nil {
			return err
		}
	}
	return nil
}

// hidden runs SQL in the client's session that the client does not see, and returns the rows of the last result that has any.
func (s *session) hidden(sql string) (rows [][]string, failure *dbError, err error) {
	if err := s.ask(&pgproto3.Query{String: sql}); err != nil {
		return nil, nil, err
	}
	for {
		m, err := s.receive()
		if err != nil {
			return nil, nil, err
		}
		switch m := m.(type) {
		case *pgproto3.DataRow:
			rows = append(rows, texts(m.Values))
		case *pgproto3.ErrorResponse:
			failure = fromResponse(m)
		case *pgproto3.ReadyForQuery:
			s.status = m.TxStatus
			return rows, failure, nil
		}
	}
}

func texts(values [][]byte) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}

// showLast has pg_last_copy_id and its like return this session's. It is done before a query that asks for them, since a setting
// is rolled back with its transaction, and by SET, which takes no snapshot.
func (s *session) showLast() error {
	if err := s.settle(); err != nil || s.status == inFailed {
		return err
	}
	var sql strings.Builder
	for _, setting := range []struct {
		name  string
		value int64
	}{{settingCopyID, s.last.copyID}, {settingCopyCount, s.last.copyCount}, {settingQueryID, s.last.queryID}} {
		sql.WriteString("SET " + setting.name + " = '" + strconv.FormatInt(setting.value, 10) + "';")
	}
	_, failure, err := s.hidden(sql.String())
	if failure != nil {
		return failure
	}
	return err
}

// raise is SQL that fails with an error.
func raise(e *dbError) string {
	return "DO $$BEGIN RAISE EXCEPTION USING ERRCODE = " + quoteLiteral(e.code) + ", MESSAGE = " + quoteLiteral(e.message) + "; END$$"
}
