package ingest

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/shared/catalog"
	"hydrant/shared/names"
)

func (a *api) putRecord(ctx context.Context, call *request, in putInput) (any, error) {
	results, err := a.putAll(ctx, call, in)
	if err != nil {
		return nil, err
	}
	if results.err != nil {
		return nil, a.putFailed(*in.Stream, results.err)
	}
	return putRecordAnswer{results}, nil
}

// putRecordBatch answers for each record by itself. A record that is not known to be stored has an error that asks for it
// again; when the delivery stream is gone with all of them, the call as a whole fails.
func (a *api) putRecordBatch(ctx context.Context, call *request, in putInput) (any, error) {
	results, err := a.putAll(ctx, call, in)
	if err != nil {
		return nil, err
	}
	if results.gone() {
		return nil, a.putFailed(*in.Stream, errStreamGone)
	}
	return putRecordBatchAnswer{results}, nil
}

// putAll stores the call's records.
//
// A replica whose view is old may know a delivery stream that was deleted and made again: the log refuses all records
// then, and they are put once more to the one that the catalog has. Where only some are refused, the rest is the client's
// to repeat: the same message ids must not stand for other records.
func (a *api) putAll(ctx context.Context, call *request, in putInput) (*putResults, error) {
	d, err := a.active(ctx, *in.Stream)
	if err != nil {
		return nil, err
	}
	results := a.puts.put(ctx, d, call.caller, in.putData)
	if results.gone() && !results.inUse {
		successor, err := a.refreshed(ctx, *in.Stream)
		if err == nil && successor.ID != d.ID {
			d, results = successor, a.puts.put(ctx, successor, call.caller, in.putData)
		}
	}
	if results.inUse {
		call.lease.leave(call.data)
	}
	if !results.gone() {
		a.metrics.countPut(call.name, d, &results)
	}
	return &results, nil
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
