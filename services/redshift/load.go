package redshift

import (
	"context"
	"database/sql"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"hydrant/shared/batch"
	"hydrant/shared/catalog"
	"hydrant/shared/delivery"
	"hydrant/shared/faultpoint"
	"hydrant/shared/names"
	"hydrant/shared/objectstore"
)

// askTime is how long the ledger or the tables of errors may take to answer, locks that are waited for included.
const askTime = time.Minute

// probeEvery is how often it is looked whether the ledger can be used where it could not.
const probeEvery = time.Hour

// loader loads objects of one delivery stream, with one COPY after the other. One goroutine uses it.
type loader struct {
	cfg       Config
	ledger    ledger
	manifests manifests
	log       *slog.Logger
	now       func() time.Time
	redriven  bool // what is loaded was set aside before: the ledger remembers it for longer
	insist    bool // on the ledger: nothing is loaded without

	db      *database
	probed  bool // the ledger was found usable, or not permitted
	without bool // not permitted: COPY alone
	asked   time.Time
}

func (l *loader) close() {
	if l.db != nil {
		_ = l.db.Close() // idle connections, whose end nobody waits for
	}
	l.db, l.probed, l.without = nil, false, false
}

// open has the connections be those to the present target.
func (l *loader) open(to target) {
	if l.db != nil && l.db.target == to {
		return
	}
	l.close()
	l.db = openDatabase(to, l.cfg)
}

// copyResult is what became of the objects of one COPY.
type copyResult struct {
	already    map[batch.ID]bool // those that were loaded before: then the COPY was not carried out, and the others are to be tried again
	ran        bool              // a COPY was sent
	unanswered bool              // and what became of it is not known
}

// load loads all of the objects with one COPY, or none. Its error is judged, and nil if they are loaded, or some were.
//
// A lost answer leaves it open whether they were, which the next try's guard finds out. Where the ledger is not permitted nothing
// does, and they are loaded again.
func (l *loader) load(ctx context.Context, stream *catalog.DeliveryStream, objects []*object, held func() error) (copyResult, *failure) {
	var hidden secrets
	result, err := l.try(ctx, stream, objects, held, &hidden)
	return result, failed(ctx, err, hidden)
}

func (l *loader) try(ctx context.Context, stream *catalog.DeliveryStream, objects []*object, held func() error, hidden *secrets) (copyResult, error) {
	to, err := targetOf(stream.Destination.Redshift)
	if err != nil {
		return copyResult{}, &delivery.Error{Code: codeConnection, Message: message(codeConnection), Err: err}
	}
	*hidden = append(*hidden, to.password)
	at, err := l.manifests.object(stream, toLoad, objects)
	if err != nil {
		return copyResult{}, err
	}
	from := l.manifests.store.Credentials(at)
	as, err := from.Retrieve(ctx)
	if err != nil {
		return copyResult{}, l.manifests.store.Classify(at, err)
	}
	*hidden = append(*hidden, as.AccessKeyID, as.SecretAccessKey, as.SessionToken)
	if err := l.manifests.write(ctx, at, objects, held); err != nil {
		return copyResult{}, err
	}
	l.open(to)
	result, err := l.onConnection(ctx, stream, objects, at, as, held)
	if refusedCredentials(err) {
		from.Drop(as)
	}
	return result, err
}

func (l *loader) onConnection(ctx context.Context, stream *catalog.DeliveryStream, objects []*object, at objectstore.Object, as aws.Credentials, held func() error) (copyResult, error) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.CopyTimeout+cancelTime)
	defer cancel()
	conn, err := l.db.Conn(ctx)
	if err != nil {
		return copyResult{}, err
	}
	defer func() { _ = conn.Close() }() // back to the others, or closed already
	if err := l.prepareLedger(ctx, conn); err != nil {
		return copyResult{}, err
	}
	statement, err := l.statement(stream, objects, at, as)
	if err != nil {
		return copyResult{}, &delivery.Error{Code: codeSyntaxError, Message: message(codeSyntaxError), Err: err}
	}
	if err := held(); err != nil {
		return copyResult{}, err
	}
	faultpoint.Hit("redshift.before-copy")
	_, err = conn.ExecContext(ctx, statement)
	faultpoint.Hit("redshift.after-copy")
	if err == nil {
		return copyResult{ran: true}, nil
	}
	rollback(ctx, conn)
	return l.explain(ctx, conn, objects, err)
}

func (l *loader) statement(stream *catalog.DeliveryStream, objects []*object, at objectstore.Object, as aws.Credentials) (string, error) {
	command := stream.Destination.Redshift.Description.CopyCommand
	copy, err := copyOf{
		Table: text(command.DataTableName), Columns: text(command.DataTableColumns), Options: text(command.CopyOptions), Manifest: at.String(), As: as,
	}.text()
	if err != nil || l.without {
		return copy, err
	}
	return l.ledger.transaction(copy, stream.ID, ids(objects), l.now(), l.redriven)
}

// prepareLedger finds out, once a target, whether the ledger can be used.
func (l *loader) prepareLedger(ctx context.Context, conn *sql.Conn) error {
	if l.probed && (!l.without || l.now().Sub(l.asked) < probeEvery) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	usable, err := l.ledger.prepare(ctx, conn)
	if err != nil {
		return &ledgerError{err}
	}
	if !usable && l.insist {
		return &delivery.Error{Code: codeLedgerNotPermitted, Message: message(codeLedgerNotPermitted), Err: errInsist}
	}
	l.probed, l.without, l.asked = true, !usable, l.now()
	return nil
}

// explain finds out what an error of the transaction means: that some of the objects are loaded already, that the ledger is not what
// it was, or what is wrong with the data.
func (l *loader) explain(ctx context.Context, conn *sql.Conn, objects []*object, cause error) (copyResult, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	if divided(cause) && !l.without {
		already, err := l.ledger.loaded(ctx, conn, ids(objects))
		if err != nil {
			return copyResult{unanswered: true}, &ledgerError{err} // some are loaded, and it is not known which
		}
		if len(already) > 0 {
			return copyResult{already: already}, nil
		}
		return copyResult{ran: true}, cause // the division was in what the table does with the data
	}
	if !l.without && l.ledger.blamed(cause) {
		l.probed = false // somebody removed it: look again at the next try
		return copyResult{ran: true}, &ledgerError{cause}
	}
	return copyResult{ran: true, unanswered: !answered(cause)}, withReasons(ctx, conn, cause)
}

// tidy removes old rows of the ledger.
func (l *loader) tidy(ctx context.Context, stream names.StreamID, now time.Time) error {
	statements, err := l.ledger.tidy(stream, now)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	conn, err := l.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	return l.ledger.try(ctx, conn, statements)
}
