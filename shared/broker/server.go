package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// serverSettings are what a NATS server's monitoring port tells of its JetStream.
type serverSettings struct {
	Disabled bool `json:"disabled"` // JetStream does not run, or not yet: the settings are not there
	Config   struct {
		SyncAlways bool  `json:"sync_always"`
		MaxStorage int64 `json:"max_storage"`
	} `json:"config"`
}

// ErrUnsynced means that the NATS server acknowledges messages that a power failure would lose.
var ErrUnsynced = errors.New("the NATS server does not sync writes before it acknowledges them: set sync_interval: always in its jetstream section, or accept the loss with --allow-unsynced (HYDRANT_ALLOW_UNSYNCED)")

// checkServer refuses a server that it knows not to sync.
func checkServer(ctx context.Context, cfg Config, log *slog.Logger) error {
	if cfg.AllowUnsynced {
		log.Warn("started with --allow-unsynced: a power failure may lose acknowledged records")
		return nil
	}
	if cfg.NATSMonitorURL == "" {
		log.Warn("whether the NATS server syncs its writes is not checked: --nats-monitor-url (HYDRANT_NATS_MONITOR_URL) is not set")
		return nil
	}
	settings, err := readServer(ctx, cfg.NATSMonitorURL)
	for attempt := 0; err != nil; attempt++ {
		if attempt%20 == 0 {
			log.Warn("waiting for the NATS server's monitoring address", "error", err)
		}
		if !pause(ctx, 250*time.Millisecond) {
			return ctx.Err()
		}
		settings, err = readServer(ctx, cfg.NATSMonitorURL)
	}
	if !settings.Config.SyncAlways {
		return ErrUnsynced
	}
	return nil
}

func readServer(ctx context.Context, monitorURL string) (serverSettings, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var settings serverSettings
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(monitorURL, "/")+"/jsz?config=1", nil)
	if err != nil {
		return settings, fmt.Errorf("--nats-monitor-url (HYDRANT_NATS_MONITOR_URL): %w", errNoAddress)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return settings, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return settings, fmt.Errorf("%s answered %s", redact(monitorURL), response.Status)
	}
	if err := json.NewDecoder(response.Body).Decode(&settings); err != nil {
		return settings, err
	}
	if settings.Disabled {
		return settings, errNoJetStream
	}
	return settings, nil
}

var errNoJetStream = errors.New("JetStream does not run on the NATS server, or not yet")

// Store is the state of the JetStream store.
type Store struct {
	Used  int64 // bytes
	Limit int64 // bytes; 0 means not known
}

// Usage returns how full the store is. The limit is the configured one, or the account's, or the server's.
func Usage(ctx context.Context, js jetstream.JetStream, cfg Config) (Store, error) {
	account, err := js.AccountInfo(ctx)
	if err != nil {
		return Store{}, fmt.Errorf("read the state of the JetStream store: %w", err)
	}
	store := Store{Used: int64(account.Store), Limit: cfg.StoreBytes}
	if store.Limit == 0 && account.Limits.MaxStore > 0 {
		store.Limit = account.Limits.MaxStore
	}
	if store.Limit == 0 && cfg.NATSMonitorURL != "" {
		settings, err := readServer(ctx, cfg.NATSMonitorURL)
		if err != nil {
			return Store{}, fmt.Errorf("read the limit of the JetStream store: %w", err)
		}
		store.Limit = settings.Config.MaxStorage
	}
	return store, nil
}
