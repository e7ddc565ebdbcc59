package batch_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hydrant/shared/batch"
	"hydrant/shared/format"
	"hydrant/shared/names"
	"hydrant/shared/record"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

func descriptor() batch.Descriptor {
	return batch.Descriptor{
		Format: batch.Format, Stream: "web.clicks", StreamID: "abcdefghij234567", Version: 3, Leg: names.LegS3, Shard: 2,
		First: 41, Last: 57, Messages: 15, Records: 1200, Bytes: 5_242_881, Missing: 2,
		Oldest: time.Date(2026, 2, 25, 13, 4, 5, 678_901_234, time.UTC), Newest: time.Date(2026, 2, 25, 13, 9, 5, 0, time.UTC),
		Reason: batch.ReasonSize,
	}
}

func delivery() batch.Delivery {
	return batch.Delivery{
		Format: batch.Format, Batch: descriptor().ID(), Stream: "web.clicks", StreamID: "abcdefghij234567", Leg: names.LegS3, Shard: 2,
		First: 41, Last: 57, Outcome: batch.Delivered, Location: "s3://bucket/2026/02/25/13/web.clicks-3-2026-02-25-13-04-05-x",
		Version: 3, Records: 1190, Bytes: 5_200_000, ExpiredRecords: 10, ExpiredMessages: 2, Attempts: 4,
		Oldest: time.Date(2026, 2, 25, 13, 4, 5, 678_901_234, time.UTC), Time: time.Date(2026, 2, 25, 13, 9, 6, 0, time.UTC),
	}
}

// golden compares a stored form with the file that fixes it. What is in a file was written by some version that may still
// run: a difference is a new format, not a new file.
func golden(t *testing.T, name string, data []byte) []byte {
	t.Helper()
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, data, "", "  "); err != nil {
		t.Fatal(err)
	}
	pretty.WriteByte('\n')
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, pretty.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(pretty.Bytes(), want) {
		t.Errorf("the stored form is\n%s\nwant, as in %s,\n%s", pretty.Bytes(), path, want)
	}
	return want
}

func TestDescriptorGolden(t *testing.T) {
	whole := descriptor()
	plain := whole
	plain.Missing, plain.Reason = 0, batch.ReasonInterval
	for _, c := range []struct {
		file string
		d    batch.Descriptor
	}{{"descriptor.json", whole}, {"descriptor_whole.json", plain}} {
		t.Run(c.file, func(t *testing.T) {
			unmarked := c.d
			unmarked.Format = 0 // who writes need not think of it
			data, err := unmarked.Encode()
			if err != nil {
				t.Fatal(err)
			}
			back, err := batch.Decode(golden(t, c.file, data))
			if err != nil || back != c.d {
				t.Errorf("read back as %+v, %v", back, err)
			}
		})
	}
}

func TestDeliveryGolden(t *testing.T) {
	whole := delivery()
	gone := whole
	gone.Outcome, gone.Location, gone.Records, gone.Bytes = batch.Expired, "", 0, 0
	gone.ExpiredRecords, gone.ExpiredMessages = 1200, 0
	refused := whole
	refused.Leg, refused.Location = names.LegES, "https://search.example/clicks"
	refused.Batch = "abcdefghij234567.es.2.41-57"
	refused.Records, refused.Bytes, refused.ExpiredRecords, refused.ExpiredMessages = 1195, 5_220_000, 0, 0
	refused.FailedRecords, refused.FailedBytes = 5, 22_881
	refused.FailedLocation = "s3://bucket/elasticsearch-failed/2026/02/25/13/web.clicks-3-2026-02-25-13-04-05-x"
	aside := refused
	aside.Outcome, aside.Location, aside.Records, aside.Bytes = batch.SetAside, "", 0, 0
	aside.FailedRecords, aside.FailedBytes = 1200, 5_242_881
	for _, c := range []struct {
		file string
		d    batch.Delivery
	}{{"delivery.json", whole}, {"delivery_expired.json", gone}, {"delivery_partly.json", refused}, {"delivery_set_aside.json", aside}} {
		t.Run(c.file, func(t *testing.T) {
			unmarked := c.d
			unmarked.Format = 0
			data, err := unmarked.Encode()
			if err != nil {
				t.Fatal(err)
			}
			back, err := batch.DecodeDelivery(golden(t, c.file, data))
			if err != nil || back != c.d {
				t.Errorf("read back as %+v, %v", back, err)
			}
		})
	}
}

func TestNewerFormatIsRefused(t *testing.T) {
	for _, c := range []struct{ name, data string }{
		{"the next", `{"format":2,"stream":"a","stream_id":"x","leg":"s3","first":1,"last":2}`},
		{"a form that looks different", `{"format":7,"stream":{"name":"a"},"first":"one","shard":[]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := batch.Decode([]byte(c.data)); !errors.Is(err, format.ErrNewer) || !strings.Contains(err.Error(), "format") {
				t.Errorf("a descriptor gives %v", err)
			}
			if _, err := batch.DecodeDelivery([]byte(c.data)); !errors.Is(err, format.ErrNewer) {
				t.Errorf("a delivery gives %v", err)
			}
		})
	}
}

// A batch whose messages only a newer version can read says so itself, before any of it is delivered.
func TestNewerRecordsAreRefused(t *testing.T) {
	d := batch.Descriptor{Stream: "a", StreamID: "x", Leg: "s3", First: 1, Last: 2, RecordFormat: record.Format}
	for known, want := range map[int]error{record.Format: nil, record.Format + 1: format.ErrNewer} {
		d.RecordFormat = known
		data, err := d.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := batch.Decode(data); !errors.Is(err, want) {
			t.Errorf("records of format %d: %v", known, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, c := range []struct{ name, data string }{
		{"nothing", ""},
		{"no JSON", "hello"},
		{"cut short", `{"format":1,"stream":"a"`},
		{"an empty object", `{}`},
		{"no stream id", `{"format":1,"stream":"a","leg":"s3","first":1,"last":2}`},
		{"no leg", `{"format":1,"stream":"a","stream_id":"x","first":1,"last":2}`},
		{"no range", `{"format":1,"stream":"a","stream_id":"x","leg":"s3"}`},
		{"a range backwards", `{"format":1,"stream":"a","stream_id":"x","leg":"s3","first":5,"last":4}`},
		{"a negative sequence", `{"format":1,"stream":"a","stream_id":"x","leg":"s3","first":-1,"last":4}`},
		{"a list", `[]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := batch.Decode([]byte(c.data))
			if err == nil || errors.Is(err, format.ErrNewer) || d != (batch.Descriptor{}) {
				t.Errorf("read as %+v, %v", d, err)
			}
		})
	}
}

// What an older or equal version wrote beside what this one knows is no reason to refuse.
func TestUnknownMembersAreIgnored(t *testing.T) {
	d, err := batch.Decode([]byte(`{"format":1,"stream":"a","stream_id":"x","leg":"s3","first":1,"last":2,"later":{"a":1}}`))
	if err != nil || d.First != 1 || d.Last != 2 {
		t.Errorf("read as %+v, %v", d, err)
	}
}

func TestDescriptorNames(t *testing.T) {
	d := descriptor()
	if got := d.ID(); got != "abcdefghij234567.s3.2.41-57" {
		t.Errorf("id is %q", got)
	}
	if got := d.Log(); got != (names.Log{Stream: "web.clicks", Shard: 2, ID: "abcdefghij234567"}) {
		t.Errorf("log is %+v", got)
	}
}

func FuzzDecode(f *testing.F) {
	data, err := descriptor().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"format":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := batch.Decode(data)
		if err != nil {
			return
		}
		again, err := d.Encode()
		if err != nil {
			t.Skip("a time that JSON cannot hold")
		}
		back, err := batch.Decode(again)
		if err != nil || back.ID() != d.ID() || back.Records != d.Records || back.Bytes != d.Bytes || !back.Oldest.Equal(d.Oldest) {
			t.Errorf("%+v was written %s and read as %+v, %v", d, again, back, err)
		}
	})
}
