package ingest

import (
	"testing"

	"github.com/nats-io/nats.go"
)

func FuzzReadAnswer(f *testing.F) {
	f.Add([]byte(`{"stream":"S","seq":7}`), "")
	f.Add([]byte(`{"stream":"S","seq":7,"batch":"b","count":7}`), "")
	f.Add([]byte(`{"stream":"S","seq":7,"duplicate":true}`), "")
	f.Add([]byte(`{"error":{"code":503,"err_code":10023,"description":"insufficient resources"},"stream":"S","seq":0}`), "")
	f.Add([]byte(nil), "503")
	f.Add([]byte(`{"seq":-1}`), "")
	f.Fuzz(func(t *testing.T, data []byte, status string) {
		m := &nats.Msg{Data: data, Header: nats.Header{"Status": {status}}}
		switch a := readAnswer(m); {
		case a.outcome == outcomeStored && a.seq == 0:
			t.Error("stored without a sequence")
		case a.outcome != outcomeStored && a.reason == "":
			t.Error("not stored, and no reason")
		}
	})
}
