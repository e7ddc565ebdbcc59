package objectname

import (
	"testing"
	"time"

	"hydrant/shared/batch"
	"hydrant/shared/names"
)

func goldenBatch() batch.Descriptor {
	return batch.Descriptor{
		Stream: "web.clicks", StreamID: "abcdefgh234567ab", Version: 3, Leg: names.LegS3, Shard: 2, First: 101, Last: 250,
		Messages: 150, Records: 150, Bytes: 1000,
		Oldest: time.Date(2026, 3, 9, 23, 5, 7, 123456789, time.FixedZone("", -3600)), Newest: time.Date(2026, 3, 10, 1, 0, 0, 0, time.UTC),
	}
}

// TestIdentity is golden: a change makes batches that were delivered before it be delivered again. The first two were computed
// by another program.
func TestIdentity(t *testing.T) {
	failed := batch.Descriptor{Stream: "demo", StreamID: "abcd", Leg: names.LegES, First: 5, Last: 9, Oldest: time.Date(2016, 2, 25, 13, 4, 5, 6, time.UTC)}
	tests := []struct {
		name, installation string
		batch              batch.Descriptor
		variant, want      string
	}{
		{"all of a batch", "inst", goldenBatch(), "", "f85cb5ba-7384-8d0e-a620-533e07d35f63"},
		{"what survived", "inst", goldenBatch(), "survivors", "574f66eb-0493-8e89-9d2a-ed114f1a6490"},
		{"what failed", "installation", failed, "elasticsearch-failed", "8418d178-3efa-88d8-9c55-ffdad86c30f3"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wantEqual(t, "the UUID", Identify(tt.installation, tt.batch, tt.variant).UUID(), tt.want)
		})
	}
}

// TestIdentitiesDiffer changes each thing that makes a batch another, and some that do not.
func TestIdentitiesDiffer(t *testing.T) {
	same := Identify("inst", goldenBatch(), "")
	tests := []struct {
		name         string
		installation string
		change       func(*batch.Descriptor)
		variant      string
		differs      bool
	}{
		{"installation", "inst2", func(*batch.Descriptor) {}, "", true},
		{"stream made again", "inst", func(d *batch.Descriptor) { d.StreamID = "abcdefgh234567ac" }, "", true},
		{"leg", "inst", func(d *batch.Descriptor) { d.Leg = names.LegBackup }, "", true},
		{"shard", "inst", func(d *batch.Descriptor) { d.Shard = 3 }, "", true},
		{"first", "inst", func(d *batch.Descriptor) { d.First = 102 }, "", true},
		{"arrival, by a nanosecond", "inst", func(d *batch.Descriptor) { d.Oldest = d.Oldest.Add(1) }, "", true},
		{"variant", "inst", func(*batch.Descriptor) {}, "survivors", true},
		{"a border between fields", "instabc", func(d *batch.Descriptor) { d.StreamID = "defgh234567ab" }, "", true},
		{"the zone of the arrival", "inst", func(d *batch.Descriptor) { d.Oldest = d.Oldest.UTC() }, "", false},
		{"the version of the configuration", "inst", func(d *batch.Descriptor) { d.Version = 4 }, "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := goldenBatch()
			tt.change(&d)
			got := Identify(tt.installation, d, tt.variant)
			wantEqual(t, "whether the identity differs", got != same, tt.differs)
			wantEqual(t, "whether the UUID differs", got.UUID() != same.UUID(), tt.differs)
			if !matches(`[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`, got.UUID()) {
				t.Errorf("%s has not the shape of a UUID", got.UUID())
			}
		})
	}
}
