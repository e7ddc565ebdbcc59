package ingest

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/shared/catalog"
	"hydrant/shared/names"
)

func (a *api) putRecord(ctx context.Context, call *request, in putInput) (any, error) {
	results, err := a.putAll(ctx, call, in)
	if err != nil {
		return nil, err
	}
	if err := results[0].Err; err != nil {
		return nil, a.putFailed(*in.Stream, err)
	}
	return &firehose.PutRecordOutput{
		RecordId:  aws.String(results[0].ID.String()),
		Encrypted: aws.Bool(false),
	}, nil
}

// putRecordBatch answers for each record by itself. A record that is not known to be stored has an error that asks for it
// again; when the delivery stream is gone with all of them, the call as a whole fails.
func (a *api) putRecordBatch(ctx context.Context, call *request, in putInput) (any, error) {
	results, err := a.putAll(ctx, call, in)
	if err != nil {
		return nil, err
	}
	if allGone(results) {
		return nil, a.putFailed(*in.Stream, errStreamGone)
	}
	failed := int32(0)
	entries := make([]types.PutRecordBatchResponseEntry, len(results))
	for i, result := range results {
		if result.Err == nil {
			entries[i].RecordId = aws.String(result.ID.String())
			continue
		}
		failed++
		entries[i].ErrorCode = aws.String(codeServiceUnavailable)
		entries[i].ErrorMessage = aws.String(slowDown(result.Err))
	}
	return &firehose.PutRecordBatchOutput{
		FailedPutCount:   &failed,
		Encrypted:        aws.Bool(false),
		RequestResponses: entries,
	}, nil
}

// putAll stores the call's records.
//
// A replica whose view is old may know a delivery stream that was deleted and made again: the log refuses all records
// then, and they are put once more to the one that the catalog has. Where only some are refused, the rest is the client's
// to repeat: the same message ids must not stand for other records.
func (a *api) putAll(ctx context.Context, call *request, in putInput) ([]putResult, error) {
	records := make([][]byte, len(in.Records))
	size := 0
	for i, r := range in.Records {
		records[i] = r.Data
		size += len(r.Data)
	}
	if err := call.lease.reserve(int64(size)); err != nil { // for the messages, which are copies
		a.metrics.throttled(names.Stream(*in.Stream), len(records))
		return nil, overBudget()
	}
	d, err := a.active(ctx, *in.Stream)
	if err != nil {
		return nil, err
	}
	results := a.puts.put(ctx, d, call.caller, records)
	if allGone(results) {
		successor, err := a.refreshed(ctx, *in.Stream)
		if err == nil && successor.ID != d.ID {
			d, results = successor, a.puts.put(ctx, successor, call.caller, records)
		}
	}
	if !allGone(results) {
		a.metrics.countPut(call.name, d, records, results)
	}
	return results, nil
}

func allGone(results []putResult) bool {
	for _, result := range results {
		if !errors.Is(result.Err, errStreamGone) {
			return false
		}
	}
	return true
}

// active returns an ACTIVE delivery stream. One that the view does not have, or not ACTIVE, is looked for in the catalog,
// so that a put is taken right after the creation that another replica has answered.
func (a *api) active(ctx context.Context, name string) (*catalog.DeliveryStream, error) {
	if d := a.view.Get(names.Stream(name)); d != nil && d.Status == types.DeliveryStreamStatusActive {
		return d, nil
	}
	return a.refreshed(ctx, name)
}

func (a *api) refreshed(ctx context.Context, name string) (*catalog.DeliveryStream, error) {
	if err := a.refresher.refresh(ctx); err != nil {
		// The commit path logs that NATS is away, once; every put would log it here.
		return nil, serviceUnavailable("Slow down. The delivery stream cannot be looked up now.", nil)
	}
	if d := a.view.Get(names.Stream(name)); d != nil && d.Status == types.DeliveryStreamStatusActive {
		return d, nil
	}
	if err := a.view.Unreadable(names.Stream(name)); err != nil {
		return nil, newerFormat(nil) // the view has logged it
	}
	return nil, a.putNotFound(name)
}

func (a *api) putNotFound(name string) error {
	return refusal(codeResourceNotFound, "Firehose %s not found under account %s.", name, a.cfg.AccountID)
}

func (a *api) putFailed(name string, err error) error {
	if errors.Is(err, errStreamGone) {
		return a.putNotFound(name)
	}
	return serviceUnavailable(slowDown(err), nil)
}

// slowDown is the API's own message and the reason, as a sentence.
func slowDown(err error) string {
	reason := err.Error()
	return "Slow down. " + strings.ToUpper(reason[:1]) + reason[1:] + "."
}
