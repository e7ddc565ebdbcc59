package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// FailedWrites names the JetStream streams that a NATS server could not write, as on a full disk. It stores nothing in them any more and
// gives publishers no answer, until it is started anew; and it may still answer that it knows a message, of an atomic batch of which a part
// was written, that is not on disk.
//
// It is known of a server that is alone, by its monitoring address: in a cluster one that fails leads no more. Otherwise none is named.
func FailedWrites(ctx context.Context, cfg Config) (map[string]bool, error) {
	monitors := cfg.monitors()
	if len(monitors) != 1 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	response, err := getPage(ctx, monitors[0], "/healthz?details=true") // 503 where something is wrong
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	var health struct {
		Errors []struct{ Stream, Error string }
	}
	if err := json.NewDecoder(response.Body).Decode(&health); err != nil {
		return nil, fmt.Errorf("read the health of the NATS server: %w", err)
	}
	failed := map[string]bool{}
	for _, e := range health.Errors {
		if e.Stream != "" && strings.Contains(e.Error, "write error") { // among others that say what is not there yet
			failed[e.Stream] = true
		}
	}
	return failed, nil
}
