package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"hydrant/shared/pause"
)

// serverSettings are what a NATS server's monitoring port tells of its JetStream.
type serverSettings struct {
	Disabled bool  `json:"disabled"` // JetStream does not run, or not yet: the settings are not there
	Stored   int64 `json:"storage"`
	Config   struct {
		SyncAlways bool  `json:"sync_always"`
		MaxStorage int64 `json:"max_storage"`
	} `json:"config"`
}

// ErrUnsynced means that the NATS server acknowledges messages that a power failure would lose.
var ErrUnsynced = errors.New("the NATS server does not sync writes before it acknowledges them: set sync_interval: always in its jetstream section, or accept the loss with --allow-unsynced (HYDRANT_ALLOW_UNSYNCED)")

// checkServer refuses servers of which it knows that one does not sync. It waits until one has told; those that cannot be asked
// then, as one of a cluster that is down, are not checked.
func checkServer(ctx context.Context, cfg Config, log *slog.Logger) error {
	if cfg.AllowUnsynced {
		log.Warn("started with --allow-unsynced: a power failure may lose acknowledged records")
		return nil
	}
	if cfg.NATSMonitorURL == "" {
		log.Warn("whether the NATS server syncs its writes is not checked: --nats-monitor-url (HYDRANT_NATS_MONITOR_URL) is not set")
		return nil
	}
	told, silent := readServers(ctx, cfg)
	for attempt := 0; len(told) == 0; attempt++ {
		if attempt%20 == 0 {
			log.Warn("waiting for the NATS server's monitoring address", "error", silent)
		}
		if !pause.For(ctx, 250*time.Millisecond) {
			return ctx.Err()
		}
		told, silent = readServers(ctx, cfg)
	}
	if silent != nil {
		log.Warn("whether one of the NATS servers syncs its writes is not checked", "error", silent)
	}
	if !allSync(told) {
		return ErrUnsynced
	}
	return nil
}

// allSync tells whether what is acknowledged is on disk, by what the servers told.
func allSync(told []serverSettings) bool {
	return !slices.ContainsFunc(told, func(s serverSettings) bool { return !s.Config.SyncAlways })
}

// readServers asks all monitoring addresses at once, and returns what those told that answered, and why others did not.
func readServers(ctx context.Context, cfg Config) (told []serverSettings, silent error) {
	addresses := cfg.monitors()
	all, errs := make([]serverSettings, len(addresses)), make([]error, len(addresses))
	var asking sync.WaitGroup
	for i, address := range addresses {
		asking.Go(func() { all[i], errs[i] = readServer(ctx, address) })
	}
	asking.Wait()
	for i, err := range errs {
		if err == nil {
			told = append(told, all[i])
		}
	}
	return told, errors.Join(errs...)
}

func readServer(ctx context.Context, monitorURL string) (serverSettings, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	var settings serverSettings
	if err := readPage(ctx, monitorURL, "/jsz?config=1", &settings); err != nil {
		return settings, err
	}
	if settings.Disabled {
		return settings, errNoJetStream
	}
	return settings, nil
}

// readPage reads a page of a server's monitoring port.
func readPage(ctx context.Context, monitorURL, page string, into any) error {
	response, err := getPage(ctx, monitorURL, page)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", redact(monitorURL), response.Status)
	}
	return json.NewDecoder(response.Body).Decode(into)
}

// getPage asks for it, whatever the answer's status is.
func getPage(ctx context.Context, monitorURL, page string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(monitorURL, "/")+page, nil)
	if err != nil {
		return nil, fmt.Errorf("--nats-monitor-url (HYDRANT_NATS_MONITOR_URL): %w", errNoAddress)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return client.Do(request)
}

var errNoJetStream = errors.New("JetStream does not run on the NATS server, or not yet")
