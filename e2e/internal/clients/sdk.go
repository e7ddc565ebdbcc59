package clients

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/smithy-go"
)

// goSDK calls the methods of the SDK's client by their names, so that a call is JSON as for the others.
type goSDK struct{ client reflect.Value }

func newGo(endpoint string) goSDK {
	return goSDK{reflect.ValueOf(firehose.New(firehose.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(endpoint),
		Credentials: credentials.NewStaticCredentialsProvider("local", "localsecret", ""),
	}))}
}

func (g goSDK) Call(ctx context.Context, operation string, input json.RawMessage) (json.RawMessage, error) {
	method := g.client.MethodByName(operation)
	if !method.IsValid() {
		return nil, fmt.Errorf("the SDK has no %s", operation)
	}
	in := reflect.New(method.Type().In(1).Elem())
	if err := json.Unmarshal(input, in.Interface()); err != nil {
		return nil, err
	}
	out := method.Call([]reflect.Value{reflect.ValueOf(ctx), in})
	if err, failed := out[1].Interface().(error); failed {
		return nil, asError(err)
	}
	return json.Marshal(out[0].Interface())
}

func asError(err error) error {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return err
	}
	e := &Error{Code: api.ErrorCode(), Message: api.ErrorMessage()}
	var response *awshttp.ResponseError
	if errors.As(err, &response) {
		e.Status, e.Request = response.HTTPStatusCode(), response.ServiceRequestID()
	}
	return e
}
