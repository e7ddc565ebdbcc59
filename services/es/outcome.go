package es

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"hydrant/shared/batch"
	"hydrant/shared/delivery"
	"hydrant/shared/objectstore"
)

// mayRepeat tells that there may have been an attempt before.
func (t *try) mayRepeat() bool { return t.Number > 1 || !t.FailedSince.IsZero() }

// lookBack looks for the file of failed documents of an earlier attempt, under each configuration that it may have been written
// under. Where it is, the batch has its outcome. Where S3 cannot be asked the batch is delivered all the same: documents that
// are there are not written twice, and the file, if it comes to one, is found when it is written.
func (t *try) lookBack(ctx context.Context) (*delivery.Result, error) {
	if !t.mayRepeat() {
		return nil, nil
	}
	files, err := t.earlierFiles()
	if err != nil {
		return nil, internal(err)
	}
	for _, o := range files {
		if err := t.Held(); err != nil {
			return nil, err
		}
		t.store.Sweep(ctx, o)
		found, err := t.store.Find(ctx, o)
		switch {
		case ctx.Err() != nil || errors.Is(err, delivery.ErrNotHeld):
			return nil, err
		case err != nil:
			t.log.Warn("whether documents of the batch were set aside before cannot be found out: it is delivered", "object", o, "error", err)
		case found != nil:
			return t.resultOf(o, found)
		}
	}
	return nil, nil
}

// earlierFiles are where documents of the batch may have been set aside, the newest configuration's first.
func (t *try) earlierFiles() ([]objectstore.Object, error) {
	here, err := t.failedObject(t.Stream.Version, t.Stream.Destination)
	if err != nil {
		return nil, err
	}
	files := []objectstore.Object{here}
	for _, old := range t.Stream.DestinationsSince(t.Batch.Version) {
		// Where no file can be written none was.
		if o, err := t.failedObject(old.Version, old.Destination); err == nil {
			files = append(files, o)
		}
	}
	return files, nil
}

// finish gives the batch its outcome: everything in it is delivered, has failed or has expired.
func (t *try) finish(ctx context.Context) (*delivery.Result, error) {
	if t.ledger.whole && t.ledger.tally().pending == 0 && t.ledger.tally().failed == 0 {
		return t.result(t.doubt), nil
	}
	o, found, err := t.setAside(ctx, t.now())
	if err != nil {
		return nil, err
	}
	if found == nil {
		return t.result(t.doubt), nil
	}
	if !found.Created {
		return t.resultOf(o, found)
	}
	why := t.why()
	if t.doubt != nil {
		why += "; " + t.doubt.Error()
	}
	return t.resultWith(o, found, why)
}

// result is what became of a batch of which nothing is set aside.
func (t *try) result(warning *delivery.Error) *delivery.Result {
	settled := t.ledger.tally()
	r := &delivery.Result{
		Outcome: batch.Delivered, Location: t.location(), Version: t.Stream.Version,
		Records: settled.done, Bytes: t.ledger.bytes, ExpiredRecords: t.Batch.Records - settled.done, Warning: warning,
	}
	if settled.done == 0 && t.Batch.Records > 0 {
		r.Outcome, r.Location = batch.Expired, ""
	}
	return r
}

// location is where documents go: the address and the index's name, without its rotation.
func (t *try) location() string {
	address, err := t.servers.address(t.to())
	if err != nil || t.to().IndexName == nil {
		return ""
	}
	return strings.TrimSuffix(address, "/") + "/" + *t.to().IndexName
}

// resultOf is the outcome of an earlier attempt, which its file tells.
func (t *try) resultOf(o objectstore.Object, found *objectstore.Found) (*delivery.Result, error) {
	return t.resultWith(o, found, "an earlier attempt set them aside; the file says why")
}

func (t *try) resultWith(o objectstore.Object, found *objectstore.Found, why string) (*delivery.Result, error) {
	var numbers [5]int64
	for i, name := range []string{objectstore.MetadataRecords, objectstore.MetadataBytes, metadataDelivered, metadataDeliveredBytes, metadataExpired} {
		n, err := strconv.ParseInt(found.Metadata[name], 10, 64)
		if err != nil {
			return nil, &delivery.Error{
				Class: delivery.Permanent, Code: objectstore.CodeInternal, Message: objectstore.Message(objectstore.CodeInternal, serviceName),
				Err: fmt.Errorf("%s is there and does not say in its metadata what became of the batch: it is not overwritten", o),
			}
		}
		numbers[i] = n
	}
	r := &delivery.Result{
		Outcome: batch.Delivered, Location: t.location(), Version: t.Stream.Version,
		FailedRecords: int(numbers[0]), FailedBytes: numbers[1], FailedLocation: o.String(),
		Records: int(numbers[2]), Bytes: numbers[3], ExpiredRecords: int(numbers[4]),
	}
	if version, err := strconv.Atoi(found.Metadata[metadataVersion]); err == nil {
		r.Version = version
	}
	if r.Records == 0 {
		r.Outcome, r.Location = batch.SetAside, ""
	}
	r.Warning = rejected(why)
	return r, nil
}

// why is the reasons for which documents are set aside, the most frequent first, in the server's words.
func (t *try) why() string {
	counts := map[string]int{}
	for ordinal := range t.ledger.states {
		switch r := t.ledger.reason(ordinal); {
		case r != nil:
			counts[r.logged()]++
		case t.ledger.pending(ordinal):
			counts[t.rest().logged()]++
		}
	}
	var reasons []string
	for text := range counts {
		reasons = append(reasons, text)
	}
	slices.SortFunc(reasons, func(a, b string) int {
		if counts[a] != counts[b] {
			return counts[b] - counts[a]
		}
		return strings.Compare(a, b)
	})
	for i, text := range reasons {
		reasons[i] = fmt.Sprintf("%d of them: %s", counts[text], text)
	}
	const most = 3
	if len(reasons) > most {
		reasons = append(reasons[:most], fmt.Sprintf("%d more reasons", len(reasons)-most))
	}
	return strings.Join(reasons, "; ")
}

// unfinished is the error of an attempt after which documents are still pending.
func (t *try) unfinished(p *pass) error {
	e := describe(p.worst)
	if p.worst == nil {
		e = describe(t.mostFrequent())
	}
	e.Progress = t.ledger.progress()
	return e
}

// mostFrequent is the answer that most of the pending documents got.
func (t *try) mostFrequent() error {
	counts := map[int]int{}
	best := -1
	for ordinal, s := range t.ledger.states {
		if s < firstReason || !t.ledger.pending(ordinal) {
			continue
		}
		n := int(s - firstReason)
		if counts[n]++; best < 0 || counts[n] > counts[best] {
			best = n
		}
	}
	if best < 0 {
		return errors.New("documents are pending, and nothing is known of them")
	}
	r := t.ledger.reasons[best]
	return &refusal{status: r.Status, reason: fmt.Sprintf("%d of %d documents: %s", counts[best], len(t.ledger.states), r.logged())}
}

// classify completes an error: with the class and code that it has not, and with what is known by now.
func (t *try) classify(ctx context.Context, err error) error {
	var known *delivery.Error
	switch {
	case errors.Is(err, delivery.ErrNotHeld) || ctx.Err() != nil:
		return err
	case errors.As(err, &known):
	default:
		known = describe(err)
	}
	if known.Progress == nil && t.ledger.tries > 0 {
		known.Progress = t.ledger.progress()
	}
	return known
}
