package buffer

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/shared/batch"
	"hydrant/shared/catalog"
	"hydrant/shared/names"
)

// searching returns a delivery stream to Elasticsearch with hints for it and for the backup of all documents.
func searching(name names.Stream, megabytes, backupMegabytes int32) *catalog.DeliveryStream {
	d := document(name, 0, 0)
	seconds := int32(900)
	d.Destination = catalog.Destination{ID: d.Destination.ID, Search: &catalog.SearchDestination{
		API: catalog.ElasticsearchAPI, Description: types.AmazonopensearchserviceDestinationDescription{
			BufferingHints:           &types.AmazonopensearchserviceBufferingHints{SizeInMBs: &megabytes, IntervalInSeconds: &seconds},
			S3BackupMode:             types.AmazonopensearchserviceS3BackupModeAllDocuments,
			S3DestinationDescription: &types.S3DestinationDescription{BufferingHints: &types.BufferingHints{SizeInMBs: &backupMegabytes, IntervalInSeconds: &seconds}},
		},
	}}
	return d
}

// TestSearchLegs has the legs of a search destination cut each by its own hints, and trimmed when both have delivered.
func TestSearchLegs(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.create(searching("search", 1, 2))
	r.serve()
	r.put(d, 7, 300_000)
	r.awaitLeg(d, names.LegES, 4)
	r.awaitLeg(d, names.LegBackup, 7)
	for leg, messages := range map[names.Leg]int{names.LegES: 4, names.LegBackup: 7} {
		found := r.cutOf(d, leg, 0)
		if len(found) != 1 || found[0].Leg != leg || found[0].Messages != messages || found[0].Reason != batch.ReasonSize {
			t.Errorf("batches of %s are %+v", leg, found)
		}
	}
	trimmer, _ := r.trimmer(none)
	r.deliver(r.sinkOf(d, names.LegBackup), 1)
	if r.pass(trimmer); r.log(d).FirstSeq != 1 {
		t.Errorf("what is not indexed is trimmed: the log begins at %d", r.log(d).FirstSeq)
	}
	r.deliver(r.sinkOf(d, names.LegES), 1)
	r.eventually("what both have delivered is trimmed", func() bool {
		r.pass(trimmer)
		return r.log(d).FirstSeq == 5
	})
	if found := r.pass(trimmer); found.legs[legName{d.Name, names.LegES}].oldest.IsZero() || !found.legs[legName{d.Name, names.LegBackup}].oldest.IsZero() {
		t.Errorf("undelivered is %+v", found.legs)
	}
}
