package ingest

import (
	"context"
	"encoding/base64"
)

const putRecordBatchName = "PutRecordBatch"

// operation is how a call of one operation is read, checked and served.
type operation struct {
	most  func(limits) int
	parse func(*request) (any, error) // a function of the request alone
	serve func(ctx context.Context, call *request, input any) (any, error)
}

// decodedSize is how much larger what is decoded of a control-plane request may be than its body: a list of empty objects
// is the worst.
const decodedSize = 16

// control is an operation whose input is the SDK's struct I.
func control[I any](check func(*I) error, serve func(context.Context, *I) (any, error)) operation {
	return operation{
		most: func(l limits) int { return l.controlBody },
		parse: func(call *request) (any, error) {
			if err := call.lease.reserve(int64(len(call.body)) * decodedSize); err != nil {
				return nil, overBudget()
			}
			input := new(I)
			if err := decodeControl(call.body, input); err != nil {
				return nil, err
			}
			return input, check(input)
		},
		serve: func(ctx context.Context, _ *request, input any) (any, error) { return serve(ctx, input.(*I)) },
	}
}

// put is PutRecordBatch, or PutRecord where list is false.
func put(list bool, serve func(context.Context, *request, putInput) (any, error)) operation {
	return operation{
		most: func(l limits) int { return l.putBody },
		parse: func(call *request) (any, error) {
			arena, err := call.lease.buffer(base64.StdEncoding.DecodedLen(len(call.body)))
			if err != nil {
				return nil, overBudget()
			}
			input, err := readPut(call.body, arena, list)
			if err != nil {
				return nil, err
			}
			call.lease.discard(call.body)
			call.body = nil
			return input, input.check(list)
		},
		serve: func(ctx context.Context, call *request, input any) (any, error) {
			return serve(ctx, call, input.(putInput))
		},
	}
}

// later is an operation that the API has and this version of Hydrant has not.
func later(name string) operation {
	return operation{
		most:  func(l limits) int { return l.controlBody },
		parse: func(*request) (any, error) { return nil, notBuilt(name) },
	}
}

func overBudget() *apiFailure {
	return serviceUnavailable("Slow down. Too many bytes of requests are in flight (--request-memory).", nil)
}

// operations are the operations of the API, by their names.
func (a *api) operations() map[string]operation {
	operations := map[string]operation{
		"CreateDeliveryStream":   control(checkCreate, a.create),
		"DescribeDeliveryStream": control(checkDescribe, a.describe),
		"ListDeliveryStreams":    control(checkList, a.list),
		"UpdateDestination":      control(checkUpdate, a.update),
		"DeleteDeliveryStream":   control(checkDelete, a.delete),
		"PutRecord":              put(false, a.putRecord),
		putRecordBatchName:       put(true, a.putRecordBatch),
	}
	for _, name := range []string{
		"TagDeliveryStream", "UntagDeliveryStream", "ListTagsForDeliveryStream",
		"StartDeliveryStreamEncryption", "StopDeliveryStreamEncryption",
	} {
		operations[name] = later(name)
	}
	return operations
}
