package ingest

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hydrant/shared/service"
	"hydrant/shared/settings"
)

// parseConfig reads settings as the program does.
func parseConfig(args ...string) (Config, error) {
	var cfg Config
	parser, err := settings.Parser("hydrant-ingest", "", &cfg, io.Discard, io.Discard, func(int) {})
	if err == nil {
		_, err = parser.Parse(args)
	}
	return cfg, err
}

func TestDefaults(t *testing.T) {
	cfg, err := parseConfig()
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Listen != "127.0.0.1:4573" || cfg.Region != "us-east-1" || cfg.AccountID != "000000000000" || cfg.Shards != 1 ||
		cfg.MaxStreams != 5000 || cfg.RequestMemory != 256<<20 || cfg.NATS.Retention != 24*time.Hour || cfg.Gate.StoreRefusePercent != 85 {
		t.Errorf("%+v", cfg)
	}
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
	t.Setenv("HYDRANT_LISTEN", "127.0.0.1:1")
	t.Setenv("HYDRANT_MAX_STREAMS", "7")
	if cfg, err = parseConfig(); err != nil || cfg.Listen != "127.0.0.1:1" || cfg.MaxStreams != 7 {
		t.Errorf("%+v, %v", cfg, err)
	}
}

func TestWrongSettings(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ flag, value, accepted string }{
		{"listen", "4573", "use host:port"},
		{"region", "US east", "use a name such as us-east-1"},
		{"account-id", "12345", "use 12 digits"},
		{"shards", "0", "use 1 to 64"},
		{"shards", "65", "use 1 to 64"},
		{"max-streams", "0", "use 1 to 100000"},
		{"request-memory", "1000", "use 16777216 bytes or more"},
		{"retention", "1ms", "use whole seconds from 1s to 168h"},
		{"store-refuse-percent", "100", "use 1 to 99"},
	} {
		t.Run(test.flag+" "+test.value, func(t *testing.T) {
			_, err := parseConfig("--" + test.flag + "=" + test.value)
			if err == nil {
				t.Fatal("accepted")
			}
			text := settings.Explain(err).Error()
			for _, part := range []string{"--" + test.flag, settings.Variable(test.flag), test.value, test.accepted} {
				if !strings.Contains(text, part) {
					t.Errorf("%q does not say %q", text, part)
				}
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	runtime := func() service.Runtime {
		return service.Runtime{Log: discard(), Metrics: prometheus.NewRegistry()}
	}
	wrong := testConfig("nats://127.0.0.1:1")
	wrong.Shards = 0
	if _, err := New(wrong, runtime()); err == nil {
		t.Error("wrong settings are accepted")
	}
	listener := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	defer func() { _ = listener.Close() }()
	taken := testConfig("nats://127.0.0.1:1")
	taken.Listen = listener.Addr().String()
	if _, err := New(taken, runtime()); err == nil || !strings.HasPrefix(err.Error(), "--listen (HYDRANT_LISTEN): ") {
		t.Errorf("a port that is taken: %v", err)
	}
	twice := runtime()
	first := must[*Service](t)(New(testConfig("nats://127.0.0.1:1"), twice))
	_ = first.listener.Close()
	if _, err := New(testConfig("nats://127.0.0.1:1"), twice); err == nil {
		t.Error("two replicas share one registry")
	}
}

func TestNewDocumentIsWhole(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.start(func(s *Service) {
		s.cfg.Shards = 2
		s.cfg.NATS.Retention = 90 * time.Second
		s.cfg.AccountID, s.cfg.Region = "123456789012", "eu-central-1"
	})
	r.create("w")
	d := must[*streamDocument](t)(s.catalog().Read(t.Context(), "w"))
	got := fmt.Sprintln(d.Name, d.ARN, d.Status, d.Shards, d.RetentionSeconds, d.Version, d.Destination.ID, len(d.ID), d.Updated.IsZero(), len(d.Previous))
	if got != "w arn:aws:firehose:eu-central-1:123456789012:deliverystream/w ACTIVE 2 90 1 destinationId-000000000001 16 true 0\n" {
		t.Error(got)
	}
	legs := d.Legs()
	if len(legs) != 1 || legs[0].Bytes != 5<<20 || legs[0].Interval != 5*time.Minute {
		t.Errorf("%+v", legs)
	}
	for _, log := range s.logs() {
		stream, err := s.js.Stream(t.Context(), log)
		if err != nil || stream.CachedInfo().Config.MaxAge != 90*time.Second || !stream.CachedInfo().Config.AllowAtomicPublish {
			t.Errorf("%s: %+v, %v", log, stream, err)
		}
	}
}
