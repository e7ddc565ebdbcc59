package es

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/shared/names"
	"hydrant/shared/record"
)

// naming is how the documents of a batch are named: index, type and id.
type naming struct {
	index    string
	rotation types.AmazonopensearchserviceIndexRotationPeriod
	typeName string // "" where the server has no types
	ids      bool
	stream   names.StreamID
	shard    names.Shard

	hour   int64  // since 1970 of the last record named: within an hour no index name changes
	action []byte // of that hour, up to the document's id
}

// indexOf is the index of a record that arrived then.
func (n *naming) indexOf(arrived time.Time) string { return indexName(n.index, n.rotation, arrived) }

// id is the document's id, which is the RecordId; "" where the server is to make one.
func (n *naming) id(sequence uint64, index int) string {
	if !n.ids {
		return ""
	}
	return n.recordID(sequence, index).String()
}

func (n *naming) recordID(sequence uint64, index int) record.ID {
	return record.ID{Stream: n.stream, Shard: n.shard, Sequence: sequence, Index: index}
}

// appendAction appends the line before a document, and returns where in it the document's id is.
//
// The action is create, whose second time is refused (409) and changes nothing: a document that was delivered is never
// delivered again or overwritten, not by a repeat, not by a worker that wakes late.
func (n *naming) appendAction(to []byte, arrived time.Time, sequence uint64, index int) (line []byte, id span) {
	if hour := arrived.Unix() / 3600; n.action == nil || hour != n.hour {
		n.hour, n.action = hour, n.actionAt(arrived)
	}
	to = append(to, n.action...)
	if n.ids {
		to = append(to, `,"_id":"`...)
		id.from = uint32(len(to))
		to = n.recordID(sequence, index).Append(to)
		id.to = uint32(len(to))
		to = append(to, '"')
	}
	return append(to, "}}\n"...), id
}

func (n *naming) actionAt(arrived time.Time) []byte {
	action := append([]byte(`{"create":{"_index":`), quoted(n.indexOf(arrived))...)
	if n.typeName != "" {
		action = append(append(action, `,"_type":`...), quoted(n.typeName)...)
	}
	return action
}

// span is a part of a request's body.
type span struct{ from, to uint32 }

// behind is the span where as many bytes are before.
func (s span) behind(bytes int) span { return span{s.from + uint32(bytes), s.to + uint32(bytes)} }

// item is a document in a request.
type item struct {
	ordinal uint32 // in the ledger
	size    uint32 // of the record
	id      span
}

// request is a bulk request that is being made, or sent.
type request struct {
	body  []byte
	items []item
}

func (r *request) reset() { r.body, r.items = r.body[:0], r.items[:0] }

// cut makes the request end where it was.
func (r *request) cut(body int) { r.body = r.body[:body] }

// id is the id that an item was sent with, nil if none was.
func (r *request) id(i int) []byte { return r.body[r.items[i].id.from:r.items[i].id.to] }
