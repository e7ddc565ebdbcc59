package redshift

import (
	"context"

	"hydrant/shared/batch"
	"hydrant/shared/catalog"
)

// answer is what the ledger says of objects.
type answer struct {
	loaded  map[batch.ID]bool
	known   bool     // those that are not loaded were not, and no transaction of theirs is under way
	failure *failure // why it could not be asked; nil as well where there is no ledger
}

// ask asks the ledger which of the objects are loaded. It changes nothing: a lost answer, or no answer within askTime, is as if it had
// not been asked, and a process that wakes later learns what was true when the server read it.
func (l *loader) ask(ctx context.Context, stream *catalog.DeliveryStream, objects []*object) answer {
	to, err := targetOf(stream.Destination.Redshift)
	if err != nil {
		return answer{failure: failed(ctx, err, nil)}
	}
	l.open(to)
	said, err := l.askOn(ctx, objects)
	said.failure = failed(ctx, err, secrets{to.password})
	return said
}

func (l *loader) askOn(ctx context.Context, objects []*object) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	conn, err := l.db.Conn(ctx)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = conn.Close() }() // back to the others, or closed already
	if err := l.prepareLedger(ctx, conn); err != nil || l.without {
		return answer{}, err
	}
	loaded, err := l.ledger.settled(ctx, conn, ids(objects))
	if err != nil {
		return answer{}, &ledgerError{err}
	}
	return answer{loaded: loaded, known: true}, nil
}
