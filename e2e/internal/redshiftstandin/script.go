package redshiftstandin

import (
	"github.com/jackc/pgx/v5/pgproto3"

	"hydrant/shared/faultpoint"
)

// script runs the statements of a query string one after the other, with the meaning that they have as one simple query: the
// first error ends it, and what is not between BEGIN and COMMIT is one transaction.
type script struct {
	*session
	implicit bool // that transaction is open
	failed   bool
}

// runEach runs a query string in which there is something that PostgreSQL cannot run.
func (s *session) runEach(statements []statement) error {
	if err := s.settle(); err != nil {
		return err
	}
	r := script{session: s}
	for _, st := range statements {
		if err := r.run(st); err != nil {
			return err
		}
		if s.leaves() {
			return errGone
		}
		if r.failed {
			break
		}
	}
	if err := r.end(); err != nil {
		return err
	}
	return s.answer(&pgproto3.ReadyForQuery{TxStatus: s.status})
}

// leaves tells whether the client is gone, and that ends what it has begun.
func (s *session) leaves() bool {
	return s.fromClient.lost() && !s.server.config.FinishWithoutClient
}

// answer tells the client something. Where its query is carried out without it, it need not hear.
func (s *session) answer(m pgproto3.BackendMessage) error {
	if err := s.tell(m); err != nil && !s.server.config.FinishWithoutClient {
		return err
	}
	return nil
}

// run runs one statement.
func (r *script) run(st statement) error {
	begun, err := r.begin(st)
	if err != nil || begun {
		return err
	}
	if st.begins("copy") {
		return r.copy(st)
	}
	text, refused := rewrite(st)
	if refused != nil {
		return r.fail(refused)
	}
	if st.control() == endControl {
		r.implicit = false
	}
	return r.forward(text)
}

// begin opens the transaction of statements that are in none. It returns true if that is all there is to do.
func (r *script) begin(st statement) (bool, error) {
	switch control := st.control(); {
	case control == beginControl && r.implicit:
		// What the string has run so far becomes part of the transaction that it begins.
		r.implicit = false
		return true, r.answer(&pgproto3.CommandComplete{CommandTag: []byte("BEGIN")})
	case r.status != idle || control != noControl:
		return false, nil
	}
	_, failure, err := r.hidden("BEGIN")
	if err != nil {
		return false, err
	}
	if failure != nil {
		return true, r.fail(failure)
	}
	r.implicit = true
	return false, nil
}

// forward has PostgreSQL run a statement, and passes on all it says but that it is ready.
func (r *script) forward(sql string) error {
	if err := r.ask(&pgproto3.Query{String: sql}); err != nil {
		return err
	}
	for {
		m, err := r.receive()
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *pgproto3.ReadyForQuery:
			r.status = m.TxStatus
			return nil
		case *pgproto3.ErrorResponse:
			r.failed = true
		}
		if err := r.answer(m); err != nil {
			return err
		}
	}
}

// copy runs a COPY.
func (r *script) copy(st statement) error {
	if r.status == inFailed {
		return r.fail(failed(codeAborted, "current transaction is aborted, commands ignored until end of transaction block"))
	}
	loaded, failure, err := r.load(st)
	if err != nil {
		return err
	}
	if failure != nil {
		return r.fail(failure)
	}
	for _, m := range loaded {
		if err := r.answer(m); err != nil {
			return err
		}
	}
	faultpoint.Hit("redshift-standin.copied")
	return nil
}

// fail tells the client of an error that PostgreSQL does not know of, and has PostgreSQL's transaction fail too.
func (r *script) fail(e *dbError) error {
	r.failed = true
	if r.status == inTransaction {
		if _, _, err := r.hidden(raise(failed(codeDataLoad, "the Redshift stand-in ran a statement itself, and it failed"))); err != nil {
			return err
		}
	}
	return r.answer(e.response())
}

// end closes the transaction that is only of this string.
func (r *script) end() error {
	if !r.implicit {
		return nil
	}
	sql := "COMMIT"
	if r.failed {
		sql = "ROLLBACK"
	}
	_, failure, err := r.hidden(sql)
	if err != nil {
		return err
	}
	if failure != nil {
		return r.answer(failure.response())
	}
	return nil
}
