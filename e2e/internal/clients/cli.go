package clients

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// cli calls the AWS CLI, a process for each call.
type cli struct {
	program, endpoint string
	env               []string
}

func newCLI(t *testing.T, python, endpoint string) *cli {
	t.Helper()
	program := filepath.Join(filepath.Dir(python), "aws")
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("no AWS CLI beside %s (%s): %v", python, PythonVariable, err)
	}
	nowhere := filepath.Join(t.TempDir(), "none") // what the user has configured is left out
	return &cli{program, endpoint, []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + nowhere, "AWS_CONFIG_FILE=" + nowhere, "AWS_SHARED_CREDENTIALS_FILE=" + nowhere,
		"AWS_ACCESS_KEY_ID=local", "AWS_SECRET_ACCESS_KEY=localsecret", "AWS_DEFAULT_REGION=us-east-1", "AWS_PAGER=",
		"AWS_EC2_METADATA_DISABLED=true",
	}}
}

func (c *cli) Call(ctx context.Context, operation string, input json.RawMessage) (json.RawMessage, error) {
	input, err := plainBlobs(input)
	if err != nil {
		return nil, err
	}
	// #nosec G204 -- the program is the one that the test's environment names
	command := exec.CommandContext(ctx, c.program, "--endpoint-url", c.endpoint, "--output", "json",
		"firehose", kebab(operation), "--cli-input-json", string(input))
	var stdout, stderr bytes.Buffer
	command.Env, command.Stdout, command.Stderr = c.env, &stdout, &stderr
	if err := command.Run(); err != nil {
		return nil, c.failure(err, stderr.String())
	}
	if out := bytes.TrimSpace(stdout.Bytes()); len(out) > 0 {
		return out, nil
	}
	return json.RawMessage("{}"), nil // the CLI prints nothing for an empty answer
}

func (c *cli) failure(err error, text string) error {
	form := regexp.MustCompile(`(?s)An error occurred \((\w+)\) when calling the \w+ operation(?: \(reached max retries: \d+\))?: (.*)`)
	if match := form.FindStringSubmatch(text); match != nil {
		return &Error{Code: match[1], Message: strings.TrimSpace(match[2])}
	}
	return fmt.Errorf("aws: %w: %s", err, text)
}

// kebab is an operation's name as a sub-command: PutRecordBatch is put-record-batch.
func kebab(operation string) string {
	return strings.ToLower(regexp.MustCompile(`([a-z])([A-Z])`).ReplaceAllString(operation, "$1-$2"))
}

// plainBlobs replaces base64 by what it stands for, which is how version 1 of the CLI takes blobs.
func plainBlobs(input json.RawMessage) (json.RawMessage, error) {
	var failed error
	blob := regexp.MustCompile(`"Data":\s*"([^"]*)"`)
	out := blob.ReplaceAllFunc(input, func(member []byte) []byte {
		data, err := base64.StdEncoding.DecodeString(string(blob.FindSubmatch(member)[1]))
		if err != nil {
			failed = err
		}
		text, err := json.Marshal(string(data))
		if err != nil {
			failed = err
		}
		return append([]byte(`"Data":`), text...)
	})
	return out, failed
}
