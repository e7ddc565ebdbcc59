package clients

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// node calls the SDK for JavaScript, in one process for all calls.
type node struct {
	in  io.Writer
	out *bufio.Reader
}

func newNode(t *testing.T, modules, endpoint string) *node {
	t.Helper()
	script, err := filepath.Abs(filepath.Join("clients", "call.js"))
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(context.WithoutCancel(t.Context()), "node", script, endpoint, modules)
	command.Stderr = os.Stderr
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatalf("Node.js: %v", err)
	}
	t.Cleanup(func() {
		_ = in.Close() // which ends it
		if err := command.Wait(); err != nil {
			t.Errorf("Node.js: %v", err)
		}
	})
	return &node{in, bufio.NewReader(out)}
}

func (n *node) Call(_ context.Context, operation string, input json.RawMessage) (json.RawMessage, error) {
	line, err := json.Marshal(map[string]any{"op": operation, "input": input})
	if err != nil {
		return nil, err
	}
	if _, err := n.in.Write(append(line, '\n')); err != nil {
		return nil, err
	}
	answer, err := n.out.ReadBytes('\n')
	if err != nil {
		return nil, errors.Join(err, errors.New("node.js ended: see its standard error"))
	}
	var read struct {
		Output json.RawMessage
		Error  *Error
	}
	if err := json.Unmarshal(answer, &read); err != nil {
		return nil, fmt.Errorf("node.js: %w: %.200s", err, answer)
	}
	if read.Error != nil {
		return nil, read.Error
	}
	return read.Output, nil
}
