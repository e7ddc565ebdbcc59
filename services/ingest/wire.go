package ingest

import (
	"bytes"
	lenient "encoding/json"
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The API's JSON is the SDK's own structs, whose field names are the member names. Names are case-sensitive, a blob is
// standard base64 with padding, and text is valid UTF-8; a time is a number of seconds. Members that are not known are
// ignored, and of those given twice the last one counts.

// readControl reads the body of a control-plane request, and returns it as it counts beside what was read. Its error never
// shows contents.
func readControl[I any](body []byte, lease *lease) (*I, []byte, error) {
	input, err := decode[I](body)
	if errors.Is(err, jsontext.ErrDuplicateName) {
		if err := lease.reserve(int64(len(body)) * treeSize); err != nil {
			return nil, nil, overBudget()
		}
		if body, err = lastOfEach(body); err == nil {
			input, err = decode[I](body)
		}
	}
	if err != nil {
		return nil, nil, notReadable(err)
	}
	if jsontext.Value(body).Kind() != '{' { // null, which every member may be, and the input may not
		return nil, nil, refusal(codeSerialization, "The request is not a JSON object.")
	}
	return input, body, nil
}

func decode[I any](body []byte) (*I, error) {
	input := new(I)
	return input, json.Unmarshal(body, input, json.WithUnmarshalers(json.UnmarshalFromFunc(readTime)))
}

// lastOfEach returns body with only the last of members of one name. The package that reads everything else would mix
// them; this one does not, and knows less of UTF-8.
func lastOfEach(body []byte) ([]byte, error) {
	if err := json.Unmarshal(body, new(jsontext.Value), jsontext.AllowDuplicateNames(true)); err != nil {
		return nil, err
	}
	var tree any
	reader := lenient.NewDecoder(bytes.NewReader(body))
	reader.UseNumber()
	if err := reader.Decode(&tree); err != nil {
		return nil, err
	}
	return lenient.Marshal(tree)
}

// encodeJSON writes an answer. Members that are not set are left out.
func encodeJSON(output any) ([]byte, error) {
	return json.Marshal(output,
		json.OmitZeroStructFields(true),
		json.WithMarshalers(json.MarshalToFunc(writeTime)),
	)
}

func writeTime(e *jsontext.Encoder, t time.Time) error {
	text := strconv.AppendInt(nil, t.Unix(), 10)
	if milli := t.Nanosecond() / int(time.Millisecond); milli != 0 {
		text = append(text, '.')
		text = append(text, strconv.Itoa(1000 + milli)[1:]...)
	}
	return e.WriteValue(text)
}

// readTime accepts a number, and does not keep it: no operation that is built has a time in its input.
func readTime(d *jsontext.Decoder, _ *time.Time) error {
	token, err := d.ReadToken()
	if err == nil && token.Kind() != '0' {
		err = errWrongType
	}
	return err
}

// encodeError writes an error without a namespace before its type, which some clients compare as a whole.
func encodeError(e *apiFailure) []byte {
	body := struct {
		Type    string `json:"__type"`
		Message string `json:"message,omitzero"`
	}{e.code, e.message}
	data, err := json.Marshal(body, jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return []byte(`{"__type":"` + codeInternalFailure + `"}`)
	}
	return data
}

var errWrongType = errors.New("wrong JSON type")

// notReadable makes a SerializationException of what a JSON decoder returned. The decoder's own text may quote what it
// stumbled over, which may be a record; this one says where that is.
func notReadable(err error) error {
	var semantic *json.SemanticError
	if errors.As(err, &semantic) && !isSyntactic(err) {
		return refusal(codeSerialization, "The value at byte %d of the request has the wrong JSON type or form.", semantic.ByteOffset)
	}
	var syntactic *jsontext.SyntacticError
	if errors.As(err, &syntactic) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return refusal(codeSerialization, "The request is not valid JSON in UTF-8: see byte %d.", syntactic.ByteOffset)
	}
	return refusal(codeSerialization, "The request is not valid JSON: it ends too early.")
}

func isSyntactic(err error) bool {
	var syntactic *jsontext.SyntacticError
	return errors.As(err, &syntactic)
}
