package ingest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/shared/names"
)

// The answers to puts are, byte for byte, what the SDK's types say.
func TestPutAnswersAreTheSDKs(t *testing.T) {
	log := names.Log{Stream: "s", Shard: 3, ID: "abc"}
	for name, results := range map[string]putResults{
		"one":                {parts: []logMessage{{records: 1, seq: 7}}, records: 1},
		"several":            {parts: []logMessage{{records: 3, seq: 7}}, records: 3},
		"several in parts":   {parts: []logMessage{{records: 2, seq: 7}, {records: 1, seq: 1 << 60}}, records: 3},
		"some failed":        {parts: []logMessage{{records: 2, seq: 7}}, records: 4, err: unavailable(`"quoted" <words>`)},
		"all failed":         {records: 2, err: unavailable("why")},
		"words not in UTF-8": {records: 1, err: unavailable("\xff")},
	} {
		t.Run(name, func(t *testing.T) {
			results.log = log
			want, err := encodeJSON(batchOutput(results))
			if err != nil && name != "words not in UTF-8" {
				t.Fatal(err)
			}
			if got := string(putRecordBatchAnswer{&results}.appendJSON(nil)); got != string(want) && err == nil {
				t.Errorf("got  %s\nwant %s", got, want)
			} else if _, err := decode[firehose.PutRecordBatchOutput]([]byte(got)); err != nil {
				t.Errorf("%s: %v", got, err)
			}
		})
	}
	results := putResults{log: log, parts: []logMessage{{records: 1, seq: 7}}, records: 1}
	want, err := encodeJSON(&firehose.PutRecordOutput{RecordId: aws.String(results.recordID(0, 0).String()), Encrypted: aws.Bool(false)})
	if got := (putRecordAnswer{&results}).appendJSON(nil); err != nil || string(got) != string(want) {
		t.Errorf("got  %s\nwant %s, %v", got, want, err)
	}
}

func batchOutput(results putResults) *firehose.PutRecordBatchOutput {
	output := &firehose.PutRecordBatchOutput{FailedPutCount: new(int32), Encrypted: aws.Bool(false)}
	for _, r := range results.list() {
		var entry types.PutRecordBatchResponseEntry
		if r.Err == nil {
			entry.RecordId = aws.String(r.ID.String())
		} else {
			*output.FailedPutCount++
			entry.ErrorCode, entry.ErrorMessage = aws.String("ServiceUnavailableException"), aws.String(slowDown(r.Err))
		}
		output.RequestResponses = append(output.RequestResponses, entry)
	}
	return output
}

// A put of any number of records makes the same few allocations on its way from body to answer, but for the log.
func TestAllocationsOfAPutDoNotGrowWithRecords(t *testing.T) {
	allocations := func(records int) float64 {
		body := []byte(batchOf(records, 1000))
		memory := newMemory(64 << 20)
		answer := make([]byte, 0, 64<<10)
		return testing.AllocsPerRun(50, func() {
			lease := memory.lease()
			defer lease.close()
			buffer, err := lease.buffer(len(body))
			if err != nil {
				t.Fatal(err)
			}
			call := &request{lease: lease, body: buffer[:copy(buffer, body)]}
			input, err := put(true, nil).parse(call)
			if err != nil {
				t.Fatal(err)
			}
			in := input.(putInput)
			messages := buildMessages("stream", caller{InvocationID: "i"}, in.putData)
			answer = putRecordBatchAnswer{&putResults{parts: messages, records: in.Count}}.appendJSON(answer[:0])
		})
	}
	few, many := allocations(10), allocations(500)
	const dropped = 4 // with the race detector a pool loses some of what it is given
	if many > few+dropped || many > 12 {
		t.Errorf("%v allocations for 500 records, %v for 10", many, few)
	}
}

func TestFailedEntryNamesTheReason(t *testing.T) {
	if got := string(failedEntry(fmt.Errorf("%w: full", errors.New("x")))); got != `{"ErrorCode":"ServiceUnavailableException","ErrorMessage":"Slow down. X: full."},` {
		t.Error(got)
	}
}
