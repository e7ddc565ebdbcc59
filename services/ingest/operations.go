package ingest

import (
	"context"
	"encoding/base64"

	"github.com/aws/aws-sdk-go-v2/service/firehose"

	"hydrant/services/ingest/internal/model"
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

// treeSize is the same for a request that is read without regard to what it should be.
const treeSize = 48

// control is an operation whose input is the SDK's struct I, with the constraints of shape. What it must not be beyond
// those, check tells, if there is anything.
func control[I any](shape *model.Shape, check func(*I) error, serve func(context.Context, *I) (any, error)) operation {
	return operation{
		most: func(l limits) int { return l.controlBody },
		parse: func(call *request) (any, error) {
			if err := call.lease.reserve(int64(len(call.body)) * decodedSize); err != nil {
				return nil, overBudget()
			}
			input, body, err := readControl[I](call.body, call.lease)
			if err != nil {
				return nil, err
			}
			if err := validate(shape, body); err != nil {
				return nil, err
			}
			if check != nil {
				err = check(input)
			}
			return input, err
		},
		serve: func(ctx context.Context, _ *request, input any) (any, error) { return serve(ctx, input.(*I)) },
	}
}

// put is PutRecordBatch, or PutRecord where list is false.
func put(list bool, serve func(context.Context, *request, putInput) (any, error)) operation {
	return operation{
		most: func(l limits) int { return l.putBody },
		parse: func(call *request) (any, error) {
			room, err := call.lease.buffer(base64.StdEncoding.DecodedLen(len(call.body)))
			if err != nil {
				return nil, overBudget()
			}
			input, err := readPut(call.body, room, call.lease.lengths[:], list)
			if err != nil {
				return nil, err
			}
			call.lease.discard(call.body)
			call.body, call.data = nil, room
			return input, input.check(list)
		},
		serve: func(ctx context.Context, call *request, input any) (any, error) {
			return serve(ctx, call, input.(putInput))
		},
	}
}

// later is an operation that the API has and this version of Hydrant has not.
func later[I any](shape *model.Shape, name string) operation {
	return control(shape, func(*I) error { return notBuilt(name) }, nil)
}

func overBudget() *apiFailure {
	return serviceUnavailable("Slow down. Too many bytes of requests are in flight (--request-memory).", nil)
}

// operations are the operations of the API, by their names.
func (a *api) operations() map[string]operation {
	const start, stop = "StartDeliveryStreamEncryption", "StopDeliveryStreamEncryption"
	in := a.model.Inputs
	return map[string]operation{
		"CreateDeliveryStream":      control(in["CreateDeliveryStream"], checkCreate, a.create),
		"DescribeDeliveryStream":    control(in["DescribeDeliveryStream"], nil, a.describe),
		"ListDeliveryStreams":       control(in["ListDeliveryStreams"], nil, a.list),
		"UpdateDestination":         control(in["UpdateDestination"], checkUpdate, a.update),
		"DeleteDeliveryStream":      control(in["DeleteDeliveryStream"], nil, a.delete),
		"TagDeliveryStream":         control(in["TagDeliveryStream"], checkTag, a.tag),
		"UntagDeliveryStream":       control(in["UntagDeliveryStream"], nil, a.untag),
		"ListTagsForDeliveryStream": control(in["ListTagsForDeliveryStream"], nil, a.listTags),
		start:                       later[firehose.StartDeliveryStreamEncryptionInput](in[start], start),
		stop:                        later[firehose.StopDeliveryStreamEncryptionInput](in[stop], stop),
		"PutRecord":                 put(false, a.putRecord),
		putRecordBatchName:          put(true, a.putRecordBatch),
	}
}
