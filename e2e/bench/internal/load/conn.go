package load

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"time"
)

// smallCall is the size of a body that is copied behind its header instead of being sent from where it is.
const smallCall = 8 << 10

// answerTime is how long an answer may take. The service gives up after 10 seconds by itself.
const answerTime = 30 * time.Second

// Conn is a connection to the API. It is for one goroutine.
type Conn struct {
	socket net.Conn
	reader *bufio.Reader
	random *rand.Rand
	header [2][]byte // of a PutRecord and of a PutRecordBatch, up to the invocation id
	out    []byte
	pieces [3][]byte
	answer []byte
	other  bool // than Hydrant: the status alone is looked at
}

// Dial connects to the API at host:port.
func Dial(ctx context.Context, addr string) (*Conn, error) { return dial(ctx, addr, "") }

// dial connects to the API or, with a path, to something else that takes the same calls there.
func dial(ctx context.Context, addr, path string) (*Conn, error) {
	socket, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &Conn{socket: socket, reader: bufio.NewReaderSize(socket, 16<<10), random: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))}
	c.other = path != ""
	if path == "" {
		path = "/"
	}
	for n, operation := range []Operation{PutRecord, PutRecordBatch} {
		c.header[n] = header(addr, path, operation, time.Now())
	}
	return c, nil
}

// Close closes the connection.
func (c *Conn) Close() { _ = c.socket.Close() }

// header is what an AWS SDK sends ahead of a body, up to the invocation id. The signature is of the right form and not of
// this request: computing it would cost more than the rest of the load.
func header(addr, path string, operation Operation, now time.Time) []byte {
	stamp := now.UTC().Format("20060102T150405Z")
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: hydrant-bench\r\nContent-Type: application/x-amz-json-1.1\r\n"+
		"X-Amz-Target: Firehose_20150804.%s\r\nX-Amz-Date: %s\r\n"+
		"Authorization: AWS4-HMAC-SHA256 Credential=BENCHBENCHBENCHBENCH/%s/us-east-1/firehose/aws4_request, "+
		"SignedHeaders=amz-sdk-invocation-id;content-length;content-type;host;x-amz-date;x-amz-target, Signature=%s\r\n"+
		"Amz-Sdk-Request: attempt=1; max=3\r\nAmz-Sdk-Invocation-Id: ",
		path, addr, operation, stamp, stamp[:8], strings.Repeat("0123456789abcdef", 4))
}

// Do makes one call, and fails unless it is acknowledged whole.
func (c *Conn) Do(call Call) error {
	if err := c.socket.SetDeadline(time.Now().Add(answerTime)); err != nil {
		return err
	}
	if err := c.send(call); err != nil {
		return fmt.Errorf("%s: send: %w", call.operation, err)
	}
	status, body, err := c.read()
	if err != nil {
		return fmt.Errorf("%s: read the answer: %w", call.operation, err)
	}
	if status != 200 || !c.other && !acknowledged(call.operation, body) {
		return fmt.Errorf("%s: answered %d: %.300s", call.operation, status, body)
	}
	return nil
}

func acknowledged(operation Operation, body []byte) bool {
	if operation == PutRecord {
		return bytes.Contains(body, []byte(`"RecordId":"`))
	}
	return bytes.Contains(body, []byte(`"FailedPutCount":0`))
}

// send writes header and body at once.
func (c *Conn) send(call Call) error {
	size := len(call.start) + len(call.rest)
	which := 0
	if call.operation == PutRecordBatch {
		which = 1
	}
	c.out = append(c.out[:0], c.header[which]...)
	c.out = appendUUID(c.out, c.random)
	c.out = append(c.out, "\r\nContent-Length: "...)
	c.out = strconv.AppendInt(c.out, int64(size), 10)
	c.out = append(c.out, "\r\n\r\n"...)
	c.out = append(c.out, call.start...)
	if size <= smallCall {
		c.out = append(c.out, call.rest...)
		_, err := c.socket.Write(c.out)
		return err
	}
	c.pieces[0], c.pieces[1] = c.out, call.rest
	pieces := net.Buffers(c.pieces[:2])
	_, err := pieces.WriteTo(c.socket)
	return err
}

// appendUUID appends an invocation id as SDKs make them, a random UUID.
func appendUUID(to []byte, random *rand.Rand) []byte {
	var text [32]byte
	var raw [16]byte
	for i, half := range [2]uint64{random.Uint64(), random.Uint64()} {
		for n := range 8 {
			raw[i*8+n] = byte(half >> (8 * n))
		}
	}
	raw[6], raw[8] = raw[6]&0x0f|0x40, raw[8]&0x3f|0x80
	hex.Encode(text[:], raw[:])
	at := 0
	for i, size := range [5]int{8, 4, 4, 4, 12} {
		if i > 0 {
			to = append(to, '-')
		}
		to = append(to, text[at:at+size]...)
		at += size
	}
	return to
}
