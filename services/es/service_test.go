package es

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"hydrant/services/es/internal/fakees"
	"hydrant/shared/batch"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
)

// hand gives a batch to the sinks.
func (s *deliveryStream) hand(d batch.Descriptor) {
	s.t.Helper()
	data, err := d.Encode()
	check(s.t, err)
	_, err = s.js.Publish(s.t.Context(), names.BatchesSubject(d.Leg, d.Stream, d.Shard), data)
	check(s.t, err)
}

// outcome waits for what became of a batch.
func (s *deliveryStream) outcome(d batch.Descriptor) batch.Delivery {
	s.t.Helper()
	var found batch.Delivery
	natstest.WaitFor(s.t, "the batch has an outcome", func() bool {
		stream, err := s.js.Stream(s.t.Context(), names.DeliveriesStream)
		check(s.t, err)
		m, err := stream.GetLastMsgForSubject(s.t.Context(), names.DeliveriesSubject(d.Leg, d.Stream))
		if err != nil {
			return false
		}
		found, err = batch.DecodeDelivery(m.Data)
		check(s.t, err)
		return found.Batch == d.ID()
	})
	return found
}

// The service delivers what the buffer cut, through a cluster that fails at first, and stops.
func TestService(t *testing.T) {
	r := newRig(t)
	r.es.Fail(7, fakees.Answer(http.StatusServiceUnavailable, "", ""))
	stop := r.start()
	s := r.stream("demo")
	s.documents(100, 20)
	s.put(`{"n":"bad"}`)
	d := s.batch()
	r.es.FailItems(rejects("bad"))
	s.hand(d)
	got := s.outcome(d)
	wantEqual(t, "the outcome", got.Outcome, batch.Delivered)
	wantEqual(t, "the records", got.Records, 100)
	wantEqual(t, "the failed", got.FailedRecords, 1)
	if !strings.HasPrefix(got.FailedLocation, "s3://data/es/elasticsearch-failed/") || got.Location != r.es.URL()+"/logs" {
		t.Errorf("it is at %s, and %s", got.Location, got.FailedLocation)
	}
	wantEqual(t, "how often a document was written", r.es.Writes(), 1)
	stop()
}

func TestConfig(t *testing.T) {
	good := newRig(t).cfg
	for _, c := range []struct {
		change func(*Config)
		want   string
	}{
		{func(*Config) {}, ""},
		{func(c *Config) { c.ESEndpoints = map[string]string{domain: "https://localhost:9200"} }, ""},
		{func(c *Config) { c.ESEndpoints = map[string]string{"logs": "https://localhost:9200"} }, "HYDRANT_ES_ENDPOINTS"},
		{func(c *Config) { c.ESEndpoints = map[string]string{domain: "https://u:pw@localhost:9200"} }, "HYDRANT_ES_ENDPOINTS"},
		{func(c *Config) { c.ESUsername = "elastic" }, "HYDRANT_ES_PASSWORD"},
		{func(c *Config) { c.ESUsername, c.ESPassword, c.ESAPIKey = "elastic", "pw", "key" }, "HYDRANT_ES_API_KEY"},
		{func(c *Config) { c.ESSigV4, c.ESAPIKey = true, "key" }, "HYDRANT_ES_SIGV4"},
		{func(c *Config) { c.ESHosts = []string{"https://search.example.com"} }, "HYDRANT_ES_HOSTS"},
		{func(c *Config) { c.ESHosts = []string{"elastic:changeme@search.example.com"} }, "HYDRANT_ES_HOSTS"},
		{func(c *Config) { c.ESHosts = []string{"search.example.com", ""} }, "HYDRANT_ES_HOSTS"},
		{func(c *Config) { c.ESTimeout = time.Millisecond }, "HYDRANT_ES_TIMEOUT"},
		{func(c *Config) { c.BulkSize = 1000 }, "HYDRANT_BULK_SIZE"},
		{func(c *Config) { c.BulkRecords = 0 }, "HYDRANT_BULK_RECORDS"},
		{func(c *Config) { c.BulkInFlight = 0 }, "HYDRANT_BULK_IN_FLIGHT"},
		{func(c *Config) { c.Workers = 0 }, "HYDRANT_WORKERS"},
		{func(c *Config) { c.S3Region = "" }, "HYDRANT_S3_REGION"},
	} {
		cfg := good
		c.change(&cfg)
		err := cfg.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "pw@")) {
			t.Errorf("%s: %v", c.want, err)
		}
	}
}

func TestCAFileThatIsNone(t *testing.T) {
	r := newRig(t)
	for _, path := range []string{"testdata/absent.pem", "testdata/failed.jsonl"} {
		cfg := r.cfg
		cfg.ESCAFile = path
		if _, err := newServers(cfg, nil); err == nil || !strings.Contains(err.Error(), "HYDRANT_ES_CA_FILE") {
			t.Errorf("%s: %v", path, err)
		}
	}
}
