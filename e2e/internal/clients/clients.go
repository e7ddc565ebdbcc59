// Package clients calls the Firehose API with the clients that people use: the AWS SDK for Go, the AWS CLI (botocore) and
// the AWS SDK for JavaScript. One test runs its calls through each of them.
//
// What a client is asked and what it answers is JSON with the API's member names; blobs are base64. The CLI and Node.js
// are found by the environment variables that the Makefile sets; where CI does not set them the test fails.
package clients

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"
)

// Where the clients that are not in this program are found.
const (
	PythonVariable = "HYDRANT_TEST_PYTHON" // interpreter of a virtual environment with the AWS CLI
	NodeVariable   = "HYDRANT_TEST_NODE"   // folder with the node_modules of clients/package.json
)

// Client calls operations of the API at one endpoint.
type Client interface {
	// Call returns the answer, or an *Error if it is one.
	Call(ctx context.Context, operation string, input json.RawMessage) (json.RawMessage, error)
}

// Error is an error of the API, as a client shows it.
type Error struct {
	Code, Message string
	Status        int    // 0 where the client does not tell
	Request       string // id; empty where the client does not tell
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %s", e.Code, e.Message) }

// All returns each client by name, for the time of the test.
func All(t *testing.T, endpoint string) map[string]Client {
	t.Helper()
	all := map[string]Client{"aws-sdk-go-v2": newGo(endpoint)}
	if python := variable(t, PythonVariable); python != "" {
		all["AWS CLI"] = newCLI(t, python, endpoint)
	}
	if modules := variable(t, NodeVariable); modules != "" {
		all["AWS SDK for JavaScript"] = newNode(t, modules, endpoint)
	}
	return all
}

func variable(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value != "" {
		return value
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is not set: make test sets it", name)
	}
	t.Logf("%s is not set (make test sets it): that client is left out", name)
	return ""
}
