// Package objectstore writes objects to S3 once, for every service that does.
//
// Guarantees, of an object whose name is derived from a batch:
//   - However often it is written, by whomever, and whichever answer is lost, there is one object, written once: by one
//     request, on the condition that nothing has the name yet. Where something has it, the object's metadata tell whether
//     that is this batch's object, which is success, or another, which is a permanent error. Nothing is overwritten.
//   - An object is complete or not there: it gets its name after its body said that it was all, and after Held said that the
//     batch is still this worker's, which is asked again before each repeat of that request.
//   - Memory is bounded by --part-memory, whatever the size and number of the objects.
//   - An upload that is given up is aborted; one that a killed process left, by the next attempt or by Sweep.
//   - An error says what to do about it (delivery.Class), has the guide's code, and S3's own words without a secret.
//
// Not guaranteed: what a store without conditional writes cannot give. There a name is looked at and then written to, and two
// workers at the same time may both write: the same object, if they make the same bytes. A store that does not keep metadata
// makes every repeat a permanent error.
package objectstore

import (
	"context"
	"io"
	"log/slog"
	"time"

	"hydrant/shared/batch"
	"hydrant/shared/names"
)

// Names are what the service that writes is called.
type Names struct {
	Program string // in fault points, for example s3sink
	Service string // in what the owners of delivery streams are told, for example S3 sink
}

// Demand is how the service writes.
type Demand struct {
	Writers int           // objects that are written at once, at most
	Backoff time.Duration // the longest pause before the SDK repeats a request; longer ones belong to JetStream
}

// Object names an object, and says what it is and who writes it.
type Object struct {
	Bucket, Key string
	Role        string       // ARN of the role that may write there
	KMS         string       // ARN of the key that the store is to encrypt with, or ""
	Stream      names.Stream // whose object it is, and its ARN
	ARN         string
	Batch       batch.ID // is in its metadata, by which it is known again

	Metadata        map[string]string // of its own, beside the batch's id; names in lower case
	ContentEncoding string            // "" for none

	// InOnePart tells that no attempt can have needed more than MinPartSize bytes, so that there is no upload to sweep.
	InOnePart bool
	// Same compares more of an object that has the batch's id than that. nil means that the id is enough.
	Same func(*Found) bool
}

func (o Object) String() string { return "s3://" + o.Bucket + "/" + o.Key }

// Write is one attempt to write an object.
type Write struct {
	Object Object
	// Again tells that there may have been an attempt before. Unfinished uploads of the name are aborted after a success.
	Again bool
	// Held returns an error when the batch may meanwhile be another worker's.
	Held func() error
	// Body writes the content. What comes out of it must be the same for the same object each time. An error of its own, or of
	// the writer, ends the attempt, and there is no object. It is called once by a Write, and of how much it writes nothing has
	// to be known before: what fits into one part is sent in one request, more in several parts.
	Body func(ctx context.Context, w io.Writer) error
	// Straight, if not nil, is the content instead of Body, and goes to S3 as it comes. Only where Store.Unsigned says so.
	Straight *Straight
}

// Store is an S3 server, and what was learned of it.
type Store struct {
	cfg        Settings
	names      Names
	clients    *clients
	buffers    *Buffers
	conditions refusals // of conditional writes, by bucket
	acls       refusals // of ACLs, by bucket
	plain      refusals // of encryption, without a word, by bucket and delivery stream
	log        *slog.Logger
}

// Open returns a store. It reads the credentials and settings that cfg leaves to the AWS SDK's own places, and asks nothing
// of S3. Whoever opened it closes it when all writes have returned.
func Open(ctx context.Context, cfg Settings, called Names, demand Demand, buffers *Buffers, log *slog.Logger) (*Store, error) {
	clients, err := newClients(ctx, cfg, demand, log)
	if err != nil {
		return nil, err
	}
	return &Store{cfg: cfg, names: called, clients: clients, buffers: buffers, log: log}, nil
}

// Close gives back the connections. Nobody may be using the store any more.
func (s *Store) Close() { s.clients.close() }

// Unsigned tells that bodies need no signature, so that they can be sent as they come.
func (s *Store) Unsigned() bool { return s.clients.unsigned }

// Create writes an object once. It returns the object also where it was there already, written by another attempt. All its
// errors are classified.
//
//   - A lost answer: the object is looked for at once; if that fails too, the next attempt finds it.
//   - A repeat: the name is taken, and the object's metadata tell that it is the same.
//   - A process that wakes after a minute: Held says no, and nothing is sent; if it slept between Held and sending, the name is
//     taken, or its upload was aborted.
func (s *Store) Create(ctx context.Context, w Write) (*Found, error) {
	found, err := s.Write(ctx, w)
	return found, s.Classify(w.Object, err)
}

// Write is Create with the error as it came, for those who have more to decide.
func (s *Store) Write(ctx context.Context, w Write) (*Found, error) {
	u := s.newUpload(w)
	found, err := u.run(ctx)
	if err == nil && (w.Again || u.doubtful) {
		s.Sweep(ctx, w.Object)
	}
	return found, err
}

// checksums tells whether parts of uploads carry checksums where S3 does not insist on them.
func (s *Store) checksums() bool { return s.cfg.S3Checksums != checksumsRequired }

func (s *Store) logOf(o Object) *slog.Logger { return s.log.With("stream", o.Stream, "batch", o.Batch) }
