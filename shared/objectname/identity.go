package objectname

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"

	"hydrant/shared/batch"
)

// Identity tells one of a batch's objects from every other object. What is random in an object's name is made of it, so that
// every attempt to deliver the batch means the same object.
//
// It is a contract with what is in the buckets: a change of it makes batches that were delivered before the change be
// delivered again.
type Identity [sha256.Size]byte

// Identify is SHA-256 over what makes a batch this one and no other, and over the variant, which tells apart the objects that
// one batch may become. The installation is in it because two may share a bucket, the stream's id because a stream made again
// under its old name begins at sequence 1, the arrival because a log restored from a backup may give a sequence out twice.
// Each field is preceded by its length, so that no two lists of fields are the same bytes.
func Identify(installation string, d batch.Descriptor, variant string) Identity {
	var fields []byte
	for _, field := range []string{
		installation, string(d.StreamID), string(d.Leg), strconv.Itoa(int(d.Shard)),
		strconv.FormatUint(d.First, 10), strconv.FormatInt(d.Oldest.UnixNano(), 10), variant,
	} {
		fields = append(binary.BigEndian.AppendUint32(fields, uint32(len(field))), field...)
	}
	return sha256.Sum256(fields)
}

// UUID is one of version 8 (RFC 9562), made of 122 bits of the identity.
func (i Identity) UUID() string {
	id := i[:16]
	id[6] = id[6]&0x0f | 0x80 // version 8: custom
	id[8] = id[8]&0x3f | 0x80 // the RFC's variant
	text := hex.EncodeToString(id)
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}
