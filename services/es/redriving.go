package es

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"

	"hydrant/shared/delivery"
	"hydrant/shared/objectstore"
	"hydrant/shared/redrive"
)

// fruitlessRedrive is after how many passes that delivered nothing a redrive gives up: somebody waits for it.
const fruitlessRedrive = 3

// redriving is one file of failed documents that is dealt with. It is sent as a batch is, with the file in place of the log: read
// again for each pass, in which only what is pending is sent, so that what is kept of it in memory is the ledger.
type redriving struct {
	*try
	item redrive.Item

	sum     [sha256.Size]byte // of the file
	bytes   int64             // of its documents
	asked   bool              // for what is there already
	already int               // of the documents
}

// Why a file is not dealt with further.
var (
	errMoved   = fmt.Errorf("the file was moved: another redrive has dealt with it: %w", delivery.ErrNotHeld)
	errChanged = errors.New("the file changed while it was read")
	errCount   = errors.New("it has another number of lines than its metadata say")
)

// lines reads the file, and returns what its content sums up to. Its errors are lineErrors and those of S3.
func (r *redriving) lines(ctx context.Context, visit func(ordinal int, d *failedDocument) error) (sum [sha256.Size]byte, err error) {
	content, err := r.store.Open(ctx, r.item.Object)
	if err != nil {
		return sum, err
	}
	if content == nil {
		return sum, errMoved
	}
	defer func() { _ = content.Close() }()
	whole := sha256.New()
	err = visitLines(io.TeeReader(content, whole), r.item.Object.String(), visit)
	return sumOf(whole), err
}

func visitLines(from io.Reader, seed string, visit func(ordinal int, d *failedDocument) error) error {
	lines := newFailedReader(from, seed)
	for ordinal := 0; ; ordinal++ {
		d, err := lines.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := visit(ordinal, d); err != nil {
			return err
		}
	}
}

func sumOf(h hash.Hash) (sum [sha256.Size]byte) {
	h.Sum(sum[:0])
	return sum
}

// survey reads the whole file before anything of it is sent: one that is cut off, or was not written by Hydrant, is left alone.
func (r *redriving) survey(ctx context.Context) error {
	sum, err := r.lines(ctx, func(_ int, d *failedDocument) error {
		r.ledger.states = append(r.ledger.states, untried)
		r.bytes += int64(len(d.RawData))
		return nil
	})
	if err != nil {
		return err
	}
	r.sum, r.ledger.whole = sum, true
	if said := r.item.Object.Metadata[objectstore.MetadataRecords]; said != "" && said != strconv.Itoa(len(r.ledger.states)) {
		return &lineError{len(r.ledger.states), errCount}
	}
	return nil
}

// again reads the file as it was surveyed.
func (r *redriving) again(ctx context.Context, visit func(ordinal int, d *failedDocument) error) error {
	sum, err := r.lines(ctx, func(ordinal int, d *failedDocument) error {
		if ordinal >= len(r.ledger.states) {
			return errChanged
		}
		return visit(ordinal, d)
	})
	if err == nil && sum != r.sum {
		return errChanged
	}
	return err
}

// deliver sends what is pending, a few times. After it each document is delivered, or there is a reason why not.
func (r *redriving) deliver(ctx context.Context) error {
	for passes, idle := 1, 0; ; passes++ {
		p, err := r.round(ctx)
		if err != nil {
			return err
		}
		r.worst, r.already = p.worst, r.already+p.already
		if r.ledger.tally().pending == 0 {
			return nil
		}
		if onlyTooLarge(p) {
			continue // each such pass halves the requests
		}
		if p.delivered == 0 {
			idle++
		}
		if idle >= fruitlessRedrive || passes >= mostPasses {
			return r.worst
		}
		if err := r.pause(ctx, passes, p.worst); err != nil {
			return err
		}
	}
}

// round is one pass, after it is known what is there already. What the cluster refuses, and what S3 may answer next time, is in the
// pass; its error ends the redriving.
func (r *redriving) round(ctx context.Context) (*pass, error) {
	err := r.ask(ctx)
	var asked *askError
	if errors.As(err, &asked) && ctx.Err() == nil {
		return &pass{try: r.try, worst: asked.err}, nil
	}
	if err != nil {
		return nil, err
	}
	p, err := r.pass(ctx, r.fromFile)
	if mayBeRead(err) && ctx.Err() == nil {
		p.worst, err = err, nil
	}
	return p, err
}

// mayBeRead tells that S3 did not let a file be read to its end, and may the next time.
func mayBeRead(err error) bool {
	var known *delivery.Error
	return errors.As(err, &known) && known.Class == delivery.Retryable
}

// fromFile is the feed of a file.
func (r *redriving) fromFile(ctx context.Context, p *pass, requests *sync.WaitGroup) error {
	return r.again(ctx, func(ordinal int, d *failedDocument) error {
		if !r.ledger.pending(ordinal) {
			return nil
		}
		action, id := d.action(r.typeOf(d, p.is))
		return p.add(ctx, document{ordinal: ordinal, action: action, id: id, record: d.RawData}, requests)
	})
}

// typeOf is the type that a document has on the server, "" where there are none. What was set aside while no server could be asked
// has none in its line.
func (r *redriving) typeOf(d *failedDocument, is version) string {
	switch {
	case !is.types():
		return ""
	case d.ESTypeName != "":
		return d.ESTypeName
	}
	return aws.ToString(r.to().TypeName)
}

// ask finds, once, which of the documents are there already. Within one index the id would do: a second create is refused. But behind
// an alias or a data stream are many, and a document whose answer was lost before the last rollover is in another than the one that is
// written to now. Where searching is not permitted, the id is what there is.
func (r *redriving) ask(ctx context.Context) error {
	if r.asked {
		return nil
	}
	to, err := r.servers.of(r.Stream)
	if err != nil {
		return &askError{err}
	}
	q := &question{try: r.try, to: to, optional: true}
	err = r.again(ctx, func(ordinal int, d *failedDocument) error {
		return q.add(ctx, d.ESIndexName, d.ESDocumentID, ordinal, len(d.RawData))
	})
	if err == nil {
		err = q.ask(ctx)
	}
	if err != nil {
		return err
	}
	r.asked, r.already = true, r.ledger.tally().done
	return nil
}
