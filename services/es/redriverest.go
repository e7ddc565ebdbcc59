package es

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io"
	"strconv"
	"strings"
	"time"

	"hydrant/shared/objectstore"
	"hydrant/shared/redrive"
)

// restMark is what the name of a file of what a redrive left over has behind the name of the first file.
const restMark = "-redrive-"

// setAsideAgain writes a new file of the documents that failed anew, with their new reasons, and returns it. Everything else in the
// file is in the index by then.
//
// Its name is derived from the file and from which of its lines are left, so that what is the same has the same name, and what
// differs is not taken for it:
//
//   - A lost answer, or a process killed before the file was moved: the next run writes the same, and finds it there. If other
//     lines are left by then, it writes another file, and the lines in both are sent twice and indexed once.
//   - Two redrives at once: the same.
//   - A process that wakes after a minute: still finds that the file was moved, and nothing is written. If it slept after that, a
//     file comes back of which each line is in the index, or in a file that another redrive wrote.
func (r *redriving) setAsideAgain(ctx context.Context, ended time.Time) (objectstore.Object, error) {
	o := r.item.Object
	o.Key = r.restKey()
	o.Metadata = map[string]string{
		objectstore.MetadataRecords: strconv.Itoa(r.ledger.tally().failed),
		objectstore.MetadataBytes:   strconv.FormatInt(r.bytes-r.ledger.bytes, 10),
		redrive.MetadataCode:        codeDocumentsFailed,
		redrive.MetadataReason:      objectstore.MetadataText(r.why()),
	}
	_, err := r.store.Create(ctx, objectstore.Write{
		Object: o, Again: true, Held: func() error { return r.still(ctx) },
		Body: func(ctx context.Context, w io.Writer) error { return r.writeRest(ctx, w, ended) },
	})
	return o, err
}

// restKey is beside the first file that the documents were in, so that the names do not grow.
func (r *redriving) restKey() string {
	first, _, _ := strings.Cut(r.item.Object.Key, restMark)
	hash := sha256.New()
	_, _ = io.WriteString(hash, r.item.Object.Key)
	_, _ = hash.Write(r.sum[:])
	for ordinal := range r.ledger.states {
		if r.ledger.failed(ordinal) {
			_ = binary.Write(hash, binary.BigEndian, uint64(ordinal))
		}
	}
	return first + restMark + hex.EncodeToString(hash.Sum(nil)[:8])
}

// still tells whether the file is still there, as it was.
func (r *redriving) still(ctx context.Context) error {
	now, err := r.store.Describe(ctx, r.item.Object)
	switch {
	case err != nil:
		return err
	case now == nil, now.Version != r.item.Version:
		return errMoved
	}
	return nil
}

// writeRest writes the lines of what failed: as they were, with what is known now.
func (r *redriving) writeRest(ctx context.Context, to io.Writer, ended time.Time) error {
	w := bufio.NewWriterSize(to, 64<<10)
	err := r.again(ctx, func(ordinal int, d *failedDocument) error {
		if !r.ledger.failed(ordinal) {
			return nil
		}
		why := r.ledger.reason(ordinal)
		d.AttemptsMade += why.Attempts
		d.AttemptEndingTimestamp = ended.UnixMilli()
		d.ErrorCode, d.ErrorMessage = why.code(), why.message(d.ESDocumentID)
		return writeLine(w, d)
	})
	if err != nil {
		return err
	}
	return w.Flush()
}
