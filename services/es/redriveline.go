package es

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
)

const (
	// mostLine bounds a line of a file of failed documents. A record of NATS' largest recommended message, 8 MiB, is 11 MiB in base64.
	mostLine = 16 << 20
	// mostID is how long an id may be for a server.
	mostID = 512
	// mostIndex is how long an index's name may be for a server.
	mostIndex = 255
)

// Why a line is not sent. The words end up with the operator, and never hold any of the line.
var (
	errLineForm  = errors.New("it is not one JSON object with the members of a failed document, whole")
	errLineID    = errors.New("its esDocumentId is none that Hydrant gives")
	errLineIndex = errors.New("its esIndexName is none that an index can have")
	errLineLong  = fmt.Errorf("it is longer than %d bytes", mostLine)
)

// lineError is what is wrong with a file of failed documents.
type lineError struct {
	line int // from 1
	err  error
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %v", e.line, e.err) }

// Unwrap returns what.
func (e *lineError) Unwrap() error { return e.err }

// failedReader reads a file of failed documents, line by line.
type failedReader struct {
	lines *bufio.Scanner
	seed  string // of ids for documents that have none
	read  int
}

func newFailedReader(from io.Reader, seed string) *failedReader {
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 0, 64<<10), mostLine)
	return &failedReader{lines: lines, seed: seed}
}

// next is the next document. Its error is io.EOF behind the last, a lineError for a line that is none, or what ended the reading.
func (r *failedReader) next() (*failedDocument, error) {
	if !r.lines.Scan() {
		switch err := r.lines.Err(); {
		case err == nil:
			return nil, io.EOF
		case errors.Is(err, bufio.ErrTooLong):
			return nil, &lineError{r.read + 1, errLineLong}
		default:
			return nil, err
		}
	}
	r.read++
	d, err := readFailed(r.lines.Bytes())
	if err != nil {
		return nil, &lineError{r.read, err}
	}
	if d.ESDocumentID == "" {
		d.ESDocumentID = r.madeID()
	}
	return d, nil
}

// readFailed reads a line. What it names goes into requests, so that an index or an id which is none is refused: anybody who may
// write to the bucket could have written it.
func readFailed(line []byte) (*failedDocument, error) {
	var d failedDocument
	err := json.Unmarshal(line, &d, json.RejectUnknownMembers(true))
	switch {
	case err != nil, d.RawData == nil, d.AttemptsMade < 0, d.AttemptsMade > mostAttempts:
		return nil, errLineForm
	case len(d.ESDocumentID) > mostID || strings.ContainsFunc(d.ESDocumentID, notOfID):
		return nil, errLineID
	case !isIndex(d.ESIndexName):
		return nil, errLineIndex
	}
	return &d, nil
}

// mostAttempts is more than anybody makes.
const mostAttempts = 1 << 30

// notOfID tells what no id has, which is more than RecordIds do without: the guide's service has others.
func notOfID(r rune) bool {
	return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' && r != '.' && r != '_'
}

// isIndex tells whether a name can be an index's. Names of several, or of a path, are none.
func isIndex(name string) bool {
	return name != "" && len(name) <= mostIndex && name != "." && name != ".." &&
		!strings.ContainsAny(name[:1], "-_+") && !strings.ContainsAny(name, `\/*?"<>| ,#:`) &&
		!strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// madeID is the id of a document that has none (NO_DOCUMENT_ID): derived from where it stands, so that each run sends it with the
// same, and only the first indexes it.
func (r *failedReader) madeID() string {
	sum := sha256.Sum256([]byte(r.seed + "\n" + strconv.Itoa(r.read)))
	return "redriven-" + hex.EncodeToString(sum[:16])
}

// action is the line before the document in a request, without types where the server has none.
func (d *failedDocument) action(typeName string) (line []byte, id span) {
	line = append(line, `{"create":{"_index":`...)
	line = append(line, quoted(d.ESIndexName)...)
	if typeName != "" {
		line = append(append(line, `,"_type":`...), quoted(typeName)...)
	}
	line = append(line, `,"_id":"`...)
	id.from = uint32(len(line))
	line = append(line, d.ESDocumentID...) // nothing in it needs a quote: notOfID
	id.to = uint32(len(line))
	return append(line, "\"}}\n"...), id
}
