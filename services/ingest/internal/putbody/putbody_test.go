package putbody

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// sample is a body that Scan is to read, or not.
type sample struct {
	name, body string
	list, ok   bool
}

func samples() []sample {
	single := func(name, body string, ok bool) sample { return sample{name, body, false, ok} }
	batch := func(name, body string, ok bool) sample { return sample{name, body, true, ok} }
	record := func(text string) string { return `{"DeliveryStreamName":"s","Record":{"Data":"` + text + `"}}` }
	return []sample{
		single("Go and JavaScript", `{"DeliveryStreamName":"a.b_c-D9","Record":{"Data":"QUJD"}}`, true),
		single("Go sorts", `{"Record":{"Data":"QUJD"},"DeliveryStreamName":"s"}`, true),
		single("Python", `{"DeliveryStreamName": "s", "Record": {"Data": "QUJDRA=="}}`, true),
		single("indented", "\n{\r\n\t\"DeliveryStreamName\" : \"s\" ,\n\t\"Record\" : {\n\t\t\"Data\" : \"QUI=\"\n\t}\n}\n", true),
		single("longer than a block", record(strings.Repeat("QUJD", 20)+"QQ=="), true),
		single("no data", record(""), true),
		single("no name", `{"DeliveryStreamName":"","Record":{"Data":""}}`, true),
		single("bits left over", record("QR=="), true),
		batch("Go and JavaScript", `{"DeliveryStreamName":"s","Records":[{"Data":"QUJD"},{"Data":"QQ=="},{"Data":""},{"Data":"QUI="}]}`, true),
		batch("Go sorts", `{"Records":[{"Data":"QUJD"},{"Data":"QQ=="}],"DeliveryStreamName":"s"}`, true),
		batch("Python", `{"DeliveryStreamName": "s", "Records": [{"Data": "QUJD"}, {"Data": "QQ=="}]}`, true),
		batch("one", `{"DeliveryStreamName":"s","Records":[{"Data":"QUJD"}]}`, true),
		batch("500", batchOf(500, 3), true),

		batch("501", batchOf(501, 3), false),
		batch("none", `{"DeliveryStreamName":"s","Records":[]}`, false),
		batch("record of the other operation", record("QUJD"), false),
		single("records of the other operation", batchOf(2, 3), false),
		batch("both", `{"DeliveryStreamName":"s","Records":[{"Data":"QUJD"}],"Record":{"Data":"QUJD"}}`, false),
		batch("a record is null", `{"DeliveryStreamName":"s","Records":[{"Data":"QUJD"},null]}`, false),
		batch("a record is empty", `{"DeliveryStreamName":"s","Records":[{"Data":"QUJD"},{}]}`, false),
		batch("a comma too many", `{"DeliveryStreamName":"s","Records":[{"Data":"QUJD"},]}`, false),
		batch("a comma too few", `{"DeliveryStreamName":"s","Records":[{"Data":"QUJD"}{"Data":"QUJD"}]}`, false),
		batch("records are null", `{"DeliveryStreamName":"s","Records":null}`, false),
		batch("records twice", `{"DeliveryStreamName":"s","Records":[{"Data":"QUJD"}],"Records":[{"Data":"QUJD"}]}`, false),
		single("nothing", "", false),
		single("an empty object", "{}", false),
		single("only a name", `{"DeliveryStreamName":"s"}`, false),
		single("only a record", `{"Record":{"Data":"QUJD"}}`, false),
		single("no colon", `{"DeliveryStreamName""Record":{"Data":"QUJD"},"DeliveryStreamName":"s"}`, false),
		single("no comma", `{"DeliveryStreamName":"s""Record":{"Data":"QUJD"}}`, false),
		single("something follows", record("QUJD")+"{", false),
		single("a comma at the end", `{"DeliveryStreamName":"s","Record":{"Data":"QUJD"},}`, false),
		single("name twice", `{"DeliveryStreamName":"s","DeliveryStreamName":"s","Record":{"Data":"QUJD"}}`, false),
		single("record twice", `{"DeliveryStreamName":"s","Record":{"Data":"QUJD"},"Record":{"Data":"QUJD"}}`, false),
		single("data twice", `{"DeliveryStreamName":"s","Record":{"Data":"QUJD","Data":"QUJD"}}`, false),
		single("name in small letters", `{"deliverystreamname":"s","Record":{"Data":"QUJD"}}`, false),
		single("data in small letters", `{"DeliveryStreamName":"s","Record":{"data":"QUJD"}}`, false),
		single("unknown member", `{"DeliveryStreamName":"s","Record":{"Data":"QUJD"},"More":1}`, false),
		single("unknown member of a record", `{"DeliveryStreamName":"s","Record":{"Data":"QUJD","More":"x"}}`, false),
		single("a longer name", `{"DeliveryStreamNames":"s","Record":{"Data":"QUJD"}}`, false),
		single("name is null", `{"DeliveryStreamName":null,"Record":{"Data":"QUJD"}}`, false),
		single("record is null", `{"DeliveryStreamName":"s","Record":null}`, false),
		single("data is null", `{"DeliveryStreamName":"s","Record":{"Data":null}}`, false),
		single("data is a number", `{"DeliveryStreamName":"s","Record":{"Data":1}}`, false),
		single("escaped slash", record(`QUJ\/`), false),
		single("escaped letter", record(`\u0051UJD`), false),
		single("escape in the name", `{"DeliveryStreamName":"\u0041","Record":{"Data":"QUJD"}}`, false),
		single("escape in a member's name", `{"DeliveryStreamName":"s","Record":{"D\u0061ta":"QUJD"}}`, false),
		single("broken UTF-8", "{\"DeliveryStreamName\":\"\xff\",\"Record\":{\"Data\":\"QUJD\"}}", false),
		single("not ASCII", `{"DeliveryStreamName":"ä","Record":{"Data":"QUJD"}}`, false),
		single("control character", "{\"DeliveryStreamName\":\"a\tb\",\"Record\":{\"Data\":\"QUJD\"}}", false),
		single("other white space", "{\"DeliveryStreamName\":\"s\",\f\"Record\":{\"Data\":\"QUJD\"}}", false),
		single("byte order mark", "\ufeff"+record("QUJD"), false),
		single("no padding", record("QQ"), false),
		single("half a padding", record("QQ="), false),
		single("only padding", record("===="), false),
		single("padding within", record("QQ==QUJD"), false),
		single("too much padding", record("QUJD===="), false),
		single("a lone character", record("QUJDQ"), false),
		single("line break", record(`QUJD`+"\n"+`QUJD`), false),
		single("line breaks for a group", record("QUJD\n\n\n\nQUJD"), false),
		single("line break in the padding", record("QQ=\n="), false),
		single("line break after the padding", record("QQ==\r\n"), false),
		single("alphabet of the URL", record("-_-_"), false),
		single("a space", record("QUJD QUJ"), false),
		single("another character in a block", record(strings.Repeat("QUJD", 20)+"*UJD"), false),
	}
}

// batchOf has records of size bytes, written as Go does.
func batchOf(records, size int) string {
	texts := make([]string, records)
	for i := range texts {
		texts[i] = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{byte(i), 'x', 0xff}, size/3+1)[:size])
	}
	name, value := plain("a-delivery-stream", texts, true)
	return "{" + name + "," + value + "}"
}

func TestScan(t *testing.T) {
	for _, test := range samples() {
		t.Run(fmt.Sprintf("%s, list %t", test.name, test.list), func(t *testing.T) {
			if err := compare([]byte(test.body), test.list); err != nil {
				t.Error(err)
			}
			if _, ok := Scan([]byte(test.body), make([]byte, len(test.body)), nil, test.list); ok != test.ok {
				t.Errorf("ok is %t", ok)
			}
		})
	}
}

// TestScanNearlyPlain cuts every body at every byte, and puts another byte in the place of each, before it, and nothing.
func TestScanNearlyPlain(t *testing.T) {
	others := []byte("\x00\t\n \"',/:=AZ[\\]{}\x7f\x80\xff")
	for _, test := range samples() {
		if len(test.body) > 200 {
			continue
		}
		body := []byte(test.body)
		for at := range body {
			bodies := [][]byte{body[:at], slices.Concat(body[:at], body[at+1:])}
			for _, c := range others {
				bodies = append(bodies, slices.Concat(body[:at], []byte{c}, body[at:]), slices.Concat(body[:at], []byte{c}, body[at+1:]))
			}
			for _, other := range bodies {
				if err := compare(other, test.list); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// TestScanAnyPlainBody writes puts as Scan's comment describes them.
func TestScanAnyPlainBody(t *testing.T) {
	for seed := range uint64(3000) {
		w := writer{rand: rand.New(rand.NewPCG(seed, 1))}
		list := seed%2 == 0
		want := w.write(list)
		body := w.body.Bytes()
		if err := compare(body, list); err != nil {
			t.Fatal(err)
		}
		in, ok := Scan(body, make([]byte, len(body)), nil, list)
		if !ok || !bytes.Equal(in.Data, want) {
			t.Fatalf("%s: %t, %q", body, ok, in.Data)
		}
	}
}

// writer writes a put in some form.
type writer struct {
	rand *rand.Rand
	body bytes.Buffer
}

// write returns the records' data.
func (w *writer) write(list bool) []byte {
	var data []byte
	members := []func(){
		func() {
			w.marks(`"DeliveryStreamName"`, ":")
			w.marks(`"` + strings.Repeat("stream 9!~", w.rand.IntN(8)) + `"`)
		},
		func() { data = w.records(list) },
	}
	w.rand.Shuffle(2, func(i, j int) { members[i], members[j] = members[j], members[i] })
	w.marks("{")
	members[0]()
	w.marks(",")
	members[1]()
	w.marks("}")
	return data
}

func (w *writer) records(list bool) []byte {
	if !list {
		w.marks(`"Record"`, ":")
		return w.record()
	}
	w.marks(`"Records"`, ":", "[")
	data := w.record()
	for range min(w.rand.IntN(20), w.rand.IntN(20)) {
		w.marks(",")
		data = append(data, w.record()...)
	}
	w.marks("]")
	return data
}

func (w *writer) record() []byte {
	data := make([]byte, min(w.rand.IntN(300), w.rand.IntN(300)))
	for i := range data {
		data[i] = byte(w.rand.Uint32())
	}
	w.marks("{", `"Data"`, ":", `"`+base64.StdEncoding.EncodeToString(data)+`"`, "}")
	return data
}

// marks writes white space around each of texts.
func (w *writer) marks(texts ...string) {
	for _, text := range texts {
		for w.rand.IntN(3) == 0 {
			w.body.WriteByte(" \t\r\n"[w.rand.IntN(4)])
		}
		w.body.WriteString(text)
	}
	if w.rand.IntN(4) == 0 {
		w.body.WriteByte(' ')
	}
}

func TestScanNeedsRoom(t *testing.T) {
	body := []byte(batchOf(2, 100))
	room := base64.StdEncoding.DecodedLen(len(body))
	if _, ok := Scan(body, make([]byte, room-1, room), nil, true); ok {
		t.Error("a body was read to less room than it may need")
	}
}

func TestScanAllocatesNothing(t *testing.T) {
	for _, test := range samples() {
		body, data, lengths := []byte(test.body), make([]byte, len(test.body)), make([]int, 0, 500)
		if n := testing.AllocsPerRun(100, func() { Scan(body, data, lengths, test.list) }); n != 0 {
			t.Errorf("%s: %v allocations", test.name, n)
		}
	}
}

func FuzzScan(f *testing.F) {
	for _, test := range samples() {
		f.Add([]byte(test.body), test.list)
	}
	f.Fuzz(func(t *testing.T, body []byte, list bool) {
		if err := compare(body, list); err != nil {
			t.Error(err)
		}
	})
}
