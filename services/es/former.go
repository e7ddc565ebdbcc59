package es

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/elastic/go-elasticsearch/v8/esapi"
	"github.com/go-json-experiment/json"

	"hydrant/shared/catalog"
	"hydrant/shared/delivery"
	"hydrant/shared/recordlog"
)

const (
	// mostAsked is how many documents are asked for at once.
	mostAsked = 5000
	// mostOfAnswer bounds what is read of the answer for one document.
	mostOfAnswer = 1 << 10
)

// former is a place that documents of the batch may be in, because the delivery stream had another index, rotation or cluster
// while earlier attempts sent them.
type former struct {
	stream *catalog.DeliveryStream // as it was
	named  naming
}

// formers are the places other than the present one, oldest first. Where documents got no ids there is nothing to ask for.
func (t *try) formers() []former {
	var out []former
	seen := map[string]bool{place(t.to()): t.naming(version{}).ids}
	for _, old := range t.Stream.DestinationsSince(t.Batch.Version) {
		if old.Destination.Search == nil {
			continue
		}
		to := &old.Destination.Search.Description
		named := t.namingOf(to, version{})
		if !named.ids || seen[place(to)] {
			continue
		}
		seen[place(to)] = true
		was := *t.Stream
		was.Version, was.Destination = old.Version, old.Destination
		out = append(out, former{&was, named})
	}
	return out
}

// place names where the documents of a configuration are.
func place(to *types.AmazonopensearchserviceDestinationDescription) string {
	return fmt.Sprintf("%q %q %q %q", aws.ToString(to.ClusterEndpoint), aws.ToString(to.DomainARN), aws.ToString(to.IndexName), to.IndexRotationPeriod)
}

// lookElsewhere finds what earlier attempts delivered to a place that was another then, so that it is not delivered once more
// to the present one. A place that cannot be asked is asked again for half of the retry duration. After that, or if it says
// no, or if nobody tried before, delivery goes ahead, and what was in doubt is told. It changes nothing anywhere.
func (t *try) lookElsewhere(ctx context.Context) error {
	for _, f := range t.formers() {
		err := t.askFor(ctx, f)
		var asked *askError
		switch {
		case err == nil:
		case ctx.Err() != nil || !errors.As(err, &asked):
			return err
		case !t.mayRepeat():
		case t.mayPass(asked):
			return f.unknown(delivery.Retryable, err)
		default:
			t.doubt = f.unknown(delivery.Permanent, err)
			t.log.Warn("documents possibly delivered twice: whether they were delivered under an earlier configuration cannot be found out",
				"version", f.stream.Version, "error", err)
		}
	}
	return nil
}

// mayPass tells whether it is worth asking again later.
func (t *try) mayPass(err *askError) bool {
	var r *refusal
	if !errors.As(err, &r) || r.lasting() {
		return false
	}
	return t.FailedSince.IsZero() && t.retryDuration() > 0 || t.now().Before(t.FailedSince.Add(t.retryDuration()/2))
}

// unknown is what the owner of the delivery stream is told.
func (f former) unknown(class delivery.Class, err error) *delivery.Error {
	message := "Whether documents are in the index that the delivery stream had before cannot be found out. They are delivered to the new one when half of the retry duration is over."
	if class == delivery.Permanent {
		message = "Whether documents were in the index that the delivery stream had before could not be found out. They were delivered to the new one, and may be in both."
	}
	return &delivery.Error{
		Class: class, Code: codeFormerIndex, Message: message, Err: fmt.Errorf("version %d of the delivery stream: %w", f.stream.Version, err),
	}
}

// askError says that a place could not be asked, and not that something is wrong here.
type askError struct{ err error }

func (e *askError) Error() string { return e.err.Error() }

// Unwrap returns why.
func (e *askError) Unwrap() error { return e.err }

// askFor asks a former place for all that is pending, and notes what is there as delivered.
func (t *try) askFor(ctx context.Context, f former) error {
	to, err := t.servers.of(f.stream)
	if err != nil {
		return &askError{err}
	}
	q := &question{try: t, to: to}
	err = t.read(ctx, t.ledger.pending, func(m recordlog.Message, start int) error {
		for i, length := range m.Lengths {
			if !t.ledger.pending(start + i) {
				continue
			}
			if err := q.add(ctx, f.named.indexOf(m.Arrived), f.named.id(m.Sequence, i), start+i, length); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return q.ask(ctx)
}

// question collects documents of one index.
type question struct {
	*try
	to    *server
	index string
	ids   []string
	items []item
	// optional tells to go on where an index does not let itself be searched, as if nothing were there.
	optional bool
}

func (q *question) add(ctx context.Context, index, id string, ordinal, size int) error {
	if index != q.index || len(q.ids) == mostAsked {
		if err := q.ask(ctx); err != nil {
			return err
		}
		q.index = index
	}
	q.ids = append(q.ids, id)
	q.items = append(q.items, item{ordinal: uint32(ordinal), size: uint32(size)})
	return nil
}

// ask asks for what was collected.
func (q *question) ask(ctx context.Context) error {
	if len(q.ids) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, q.timeout)
	defer cancel()
	there, err := q.to.find(ctx, q.index, q.ids)
	switch {
	case err == nil:
	case !q.optional || !isLasting(err):
		return &askError{err}
	default:
		q.log.Warn("whether documents are in an index already cannot be asked: it is found out by their ids alone", "index", q.index, "error", err)
	}
	for i, it := range q.items {
		if there[q.ids[i]] {
			q.ledger.states[it.ordinal] = done
			q.ledger.bytes += int64(it.size)
		}
	}
	q.ids, q.items = q.ids[:0], q.items[:0]
	return nil
}

// isLasting tells an answer that will be the same until somebody changes a setting.
func isLasting(err error) bool {
	var r *refusal
	return errors.As(err, &r) && r.lasting()
}

// find returns which documents an index has, or an alias, or a data stream. Where none of these is there, there are none. It
// searches, since get by id does not know data streams, and refreshes before it, since a search does not see what was indexed
// a moment ago.
func (s *server) find(ctx context.Context, index string, ids []string) (map[string]bool, error) {
	index = url.PathEscape(index) // a % in it is none of the path's
	if _, err := s.question(esapi.IndicesRefreshRequest{Index: []string{index}}.Do(ctx, s.transport)); err != nil {
		return emptyIf(err)
	}
	query, err := json.Marshal(map[string]any{"query": map[string]any{"ids": map[string]any{"values": ids}}})
	if err != nil {
		return nil, err
	}
	text, err := s.question(esapi.SearchRequest{
		Index: []string{index}, Body: bytes.NewReader(query), Size: aws.Int(len(ids)), Source: []string{"false"},
		AllowPartialSearchResults: aws.Bool(false), FilterPath: []string{"timed_out", "_shards.failed", "hits.hits._id"},
	}.Do(ctx, s.transport))
	if err != nil {
		return emptyIf(err)
	}
	return readFound(text, len(ids))
}

// emptyIf makes of the error of an index that is not there that nothing is in it.
func emptyIf(err error) (map[string]bool, error) {
	var r *refusal
	if errors.As(err, &r) && r.status == http.StatusNotFound && r.kind == "index_not_found_exception" {
		return nil, nil
	}
	return nil, err
}

// question reads an answer that succeeded on every shard.
func (s *server) question(answer *esapi.Response, err error) ([]byte, error) {
	if err != nil {
		return nil, &refusal{err: err}
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(answer.Body, mostInfo+mostAsked*mostOfAnswer))
	if err != nil {
		return nil, &refusal{err: err}
	}
	if answer.StatusCode != http.StatusOK {
		return nil, newRefusal(answer.StatusCode, answer.Header, text)
	}
	var whole struct {
		TimedOut bool `json:"timed_out"`
		Shards   *struct {
			Failed int `json:"failed"`
		} `json:"_shards"`
	}
	if err := json.Unmarshal(text, &whole); err != nil || whole.Shards == nil || whole.Shards.Failed > 0 || whole.TimedOut {
		return nil, &refusal{err: fmt.Errorf("not all of the index answered: %.200s", text)}
	}
	return text, nil
}

// readFound reads which documents a search found.
func readFound(text []byte, asked int) (map[string]bool, error) {
	var answer struct {
		Hits struct {
			Hits []struct {
				ID string `json:"_id"`
			} `json:"hits"`
		} `json:"hits"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, &refusal{err: fmt.Errorf("the answer cannot be read: %w", err)}
	}
	there := make(map[string]bool, asked)
	for _, hit := range answer.Hits.Hits {
		there[hit.ID] = true
	}
	return there, nil
}
