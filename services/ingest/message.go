package ingest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"

	"hydrant/shared/names"
	"hydrant/shared/record"
)

// caller identifies one call. It is the same on every retry of the call, but for Attempt.
type caller struct {
	AccessKey    string
	InvocationID string   // the SDK's, or one made for a call that brought none
	Attempt      int      // 1 for the first try, as far as the client says
	Body         [16]byte // XXH3, 128 bits, of the request's body
}

// logMessage is one message for the record log: some records of one put, in their order.
type logMessage struct {
	id      string // Nats-Msg-Id
	lengths string // value of record.LengthsHeader; empty for a single record, which needs none
	payload []byte // a part of the put's data
	records int
	seq     uint64 // in the log; 0 while it is not known to be there
}

// buildMessages makes the messages of one put: one, or a few where the records exceed record.MaxMessageBytes together.
//
// Where they are split depends on the records alone and what they are called on the call alone, so a retry makes the same
// messages under the same ids, in whichever process.
func buildMessages(stream names.StreamID, c caller, data putData) []logMessage {
	// Two parts in a row exceed the limit together, or they would be one.
	messages := make([]logMessage, 0, 1+2*len(data.Bytes)/record.MaxMessageBytes)
	rest := data.Bytes
	for from := 0; from < len(data.Lengths); {
		to, size := partEnd(data.Lengths, from)
		messages = append(messages, logMessage{
			id:      messageID(stream, c, len(messages)),
			lengths: lengthsValue(data.Lengths[from:to]),
			payload: rest[:size:size],
			records: to - from,
		})
		from, rest = to, rest[size:]
	}
	return messages
}

// partEnd returns where the part that begins with record from ends, and its size: it takes what fits, and one record at least.
func partEnd(lengths []int, from int) (to, size int) {
	size = lengths[from]
	for to = from + 1; to < len(lengths); to++ {
		if size+lengths[to] > record.MaxMessageBytes {
			break
		}
		size += lengths[to]
	}
	return to, size
}

func lengthsValue(lengths []int) string {
	if len(lengths) == 1 {
		return ""
	}
	var room [8 * record.MaxBatchRecords]byte // "1024000," for each: on the stack
	return string(record.AppendLengths(room[:0], lengths))
}

// messageID is what JetStream knows a message again by.
//
// The body is in it for a client that gives two calls one invocation id. Who would make bodies with one hash on purpose had
// to know the random invocation id of a call that is not his, so a fast hash does: SHA-256 costs thirty times as much, and
// with it a third of all that a large put takes in this process.
//
// Each field but the last two, whose size is fixed, is preceded by
// its length, so that no two calls have the same fields run together. 144 bits of the hash are left, which nobody
// finds a second call for.
func messageID(stream names.StreamID, c caller, part int) string {
	var room [256]byte
	b := appendField(room[:0], c.AccessKey)
	b = appendField(b, string(stream))
	b = appendField(b, c.InvocationID)
	b = append(b, c.Body[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(part))
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(sum[:18])
}

func appendField(b []byte, field string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(field))), field...)
}

// shardOf is the shard that a call goes to: FNV-1a of its invocation id. All replicas and versions have to agree on it,
// since a retry finds its first try in that shard only.
func shardOf(invocationID string, shards int) names.Shard {
	h := uint64(14695981039346656037)
	for i := range len(invocationID) {
		h = (h ^ uint64(invocationID[i])) * 1099511628211
	}
	return names.Shard(h % uint64(max(shards, 1)))
}
