package putbody

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// reference reads what Scan is to read, and nothing else, with encoding/json. That package is lenient where Scan is not, so the
// body has to be, but for white space, what the package's reading of it is when written plainly.
func reference(body []byte, list bool) (stream string, records [][]byte, ok bool) {
	var in struct {
		DeliveryStreamName *string
		Record             *struct{ Data *string }
		Records            []struct{ Data *string }
	}
	if json.Unmarshal(body, &in) != nil || in.DeliveryStreamName == nil || (in.Record != nil) == list {
		return "", nil, false
	}
	if !list {
		in.Records = append(in.Records[:0], *in.Record)
	}
	var texts []string
	for _, record := range in.Records {
		if record.Data == nil {
			return "", nil, false
		}
		data, err := base64.StdEncoding.DecodeString(*record.Data)
		if err != nil || strings.ContainsAny(*record.Data, "\r\n") {
			return "", nil, false
		}
		texts, records = append(texts, *record.Data), append(records, data)
	}
	stream = *in.DeliveryStreamName
	strange := strings.ContainsFunc(stream, func(c rune) bool { return c < ' ' || c > '~' || c == '"' || c == '\\' })
	ok = !strange && len(records) >= 1 && len(records) <= 500 && isPlain(body, stream, texts, list)
	return stream, records, ok
}

func isPlain(body []byte, stream string, texts []string, list bool) bool {
	var compact bytes.Buffer
	if json.Compact(&compact, body) != nil {
		return false
	}
	name, value := plain(stream, texts, list)
	return slices.Contains([]string{"{" + name + "," + value + "}", "{" + value + "," + name + "}"}, compact.String())
}

// plain returns the two members of a put.
func plain(stream string, texts []string, list bool) (name, value string) {
	name = `"DeliveryStreamName":"` + stream + `"`
	if !list {
		return name, `"Record":{"Data":"` + texts[0] + `"}`
	}
	return name, `"Records":[{"Data":"` + strings.Join(texts, `"},{"Data":"`) + `"}]`
}

// compare tells what Scan reads otherwise than the reference does.
func compare(body []byte, list bool) error {
	before := bytes.Clone(body)
	data := make([]byte, base64.StdEncoding.DecodedLen(len(body)))
	in, ok := Scan(body, data, nil, list)
	if !bytes.Equal(body, before) {
		return fmt.Errorf("the body was changed: %q, it was %q", body, before)
	}
	stream, records, good := reference(body, list)
	if ok != good {
		return fmt.Errorf("%q, list %t: ok is %t, want %t", body, list, ok, good)
	}
	if !ok {
		return nil
	}
	var lengths []int
	for _, record := range records {
		lengths = append(lengths, len(record))
	}
	if string(in.Stream) != stream || !slices.Equal(in.Lengths, lengths) || !bytes.Equal(in.Data, bytes.Join(records, nil)) {
		return fmt.Errorf("%q: %q, %v, %q; want %q, %v, %q", body, in.Stream, in.Lengths, in.Data, stream, lengths, records)
	}
	return nil
}
