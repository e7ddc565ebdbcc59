package s3sink

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/prometheus/client_golang/prometheus"

	"hydrant/shared/batch"
	"hydrant/shared/delivery"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
	"hydrant/shared/objectstore"
	"hydrant/shared/service"
	"hydrant/shared/settings"
)

// TestObjects delivers batches of every form, from what was published to the object read back.
func TestObjects(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		options []option
		size    int
		parts   int
	}{
		{"one part", nil, 1000, 0},
		{"no byte more than a part", nil, part, 0},
		{"several parts", []option{prefixed("logs/")}, 12 * part / 5, 3},
		{"gzip", []option{compressed}, 100_000, 0},
		{"gzip in several parts", []option{compressed, prefixed("z")}, 12 * part / 5, 3},
		{"zip", []option{inFormat(formatZip)}, 100_000, 0},
		{"zip in several parts", []option{inFormat(formatZip)}, several, 2},
		{"Snappy", []option{inFormat(formatSnappy)}, 100_000, 0},
		{"Snappy in several parts", []option{inFormat(formatSnappy)}, several, 2},
		{"Hadoop's Snappy", []option{inFormat(formatHadoopSnappy)}, 100_000, 0},
		{"Hadoop's Snappy in several parts", []option{inFormat(formatHadoopSnappy)}, several, 2},
	}
	r := newRig(t)
	service, _ := r.start()
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := r.stream(names.Stream("demo."+string(rune('a'+i))), tt.options...)
			want := s.fill(tt.size)
			partsBefore := r.s3.Count("UploadPart")
			d := s.hand(s.batch())
			got := s.delivered(d)

			wantEqual(t, "the outcome", got.Outcome, batch.Delivered)
			wantEqual(t, "the version", got.Version, 1)
			wantEqual(t, "the records", got.Records, d.Records)
			wantEqual(t, "the bytes", got.Bytes, int64(len(want)))
			wantEqual(t, "the parts", r.s3.Count("UploadPart")-partsBefore, tt.parts)

			prefix := aws.ToString(s.doc.Destination.S3.Prefix) + d.Oldest.UTC().Format("2006/01/02/15/") + string(s.doc.Name) + "-1-" + d.Oldest.UTC().Format("2006-01-02-15-04-05-")
			if !strings.HasPrefix(got.Location, "s3://data/"+prefix) {
				t.Fatalf("the location is %s, want it to begin with s3://data/%s", got.Location, prefix)
			}
			data, object := r.content(got.Location)
			f := s.format()
			wantEqual(t, "the ending", got.Location[len("s3://data/"+prefix)+len(testUUID):], f.extension())
			wantEqual(t, "Content-Encoding", aws.ToString(object.ContentEncoding), f.form().encoding)
			wantContent(t, f, data, want)
			wantEqual(t, "Content-Type", aws.ToString(object.ContentType), "application/octet-stream")
			wantEqual(t, "hydrant-batch", object.Metadata["hydrant-batch"], string(d.ID()))
			wantEqual(t, "hydrant-records", object.Metadata["hydrant-records"], itoa(d.Records))
			wantEqual(t, "hydrant-bytes", object.Metadata["hydrant-bytes"], itoa(len(want)))
			wantEqual(t, "hydrant-expired", object.Metadata["hydrant-expired"], "")
		})
	}
	wantEqual(t, "the objects", len(r.keys("data")), len(tests))
	r.wantNoUploads("data")
	if service.buffers.Made() > r.cfg.Workers*partsInMemory {
		t.Errorf("%d buffers were made for %d workers", service.buffers.Made(), r.cfg.Workers)
	}
}

// TestBackup delivers the same records twice: to the destination and, as it says, to the backup's own place.
func TestBackup(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, err := r.s3.Client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("copies")})
	check(t, err)
	r.start()
	s := r.stream("demo", compressed, backedUpTo("copies", "source/"))
	want := s.fill(10_000)
	to := s.hand(s.batch())
	copied := to
	copied.Leg = names.LegBackup
	s.hand(copied)
	original, backup := s.delivered(to), s.delivered(copied)

	packed, _ := r.content(original.Location)
	if bytes.Equal(packed, want) || !strings.HasSuffix(original.Location, ".gz") {
		t.Errorf("%s is not compressed", original.Location)
	}
	data, object := r.content(backup.Location)
	if !bytes.Equal(data, want) || !strings.HasPrefix(backup.Location, "s3://copies/source/") {
		t.Errorf("%s holds %d bytes that are not the %d that were published", backup.Location, len(data), len(want))
	}
	wantEqual(t, "hydrant-batch", object.Metadata["hydrant-batch"], string(copied.ID()))
	wantEqual(t, "the leg", backup.Leg, names.LegBackup)
	r.wantOne("data")
	r.wantOne("copies")
}

// TestBackupThatFails leaves the destination alone, and says in its own error log what is wrong.
func TestBackupThatFails(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start()
	s := r.stream("demo", backedUpTo("missing", ""))
	s.fill(1000)
	to := s.hand(s.batch())
	copied := to
	copied.Leg = names.LegBackup
	s.hand(copied)
	s.delivered(to)
	var entry delivery.LogEntry
	natstest.WaitFor(t, "the failure is in the error log", func() bool {
		m, err := r.errorLog(names.ErrorsSubject("demo", "BackupDelivery"))
		if err == nil {
			entry = decodeEntry(t, m.Data)
		}
		return err == nil
	})
	wantEqual(t, "the code", entry.ErrorCode, objectstore.CodeNoSuchBucket)
	wantEqual(t, "the destination", entry.Destination, "arn:aws:s3:::missing")
	wantEqual(t, "the batch", entry.Batch, copied.ID())
	_, err := r.s3.Client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("missing")})
	check(t, err)
	wantEqual(t, "the outcome", s.delivered(copied).Outcome, batch.Delivered)
	r.wantOne("data")
	r.wantOne("missing")
}

// TestEmptyRecords delivers records without a byte: they count, and make an object of each format that holds nothing. A
// second delivery finds it.
func TestEmptyRecords(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start()
	for i, f := range formats {
		t.Run(string(f), func(t *testing.T) {
			s := r.stream(names.Stream("demo."+string(rune('a'+i))), inFormat(f))
			s.put(nil)
			s.put(nil, nil)
			d := s.hand(s.batch())
			got := s.delivered(d)
			wantEqual(t, "the records", got.Records, 3)
			data, _ := r.content(got.Location)
			wantContent(t, f, data, nil)
			again := s.attempt(d)
			again.Number = 2
			second, err := r.destination().Deliver(t.Context(), again)
			check(t, err)
			wantEqual(t, "where it is found", second.Location, got.Location)
		})
	}
}

// TestNothingInIt is a batch of which everything had gone before it was cut.
func TestNothingInIt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start()
	s := r.stream("demo")
	got := s.delivered(s.hand(batch.Descriptor{
		Stream: s.doc.Name, StreamID: s.doc.ID, Version: 1, Leg: names.LegS3, First: 1, Last: 7, Missing: 7, Reason: batch.ReasonGap,
	}))
	wantEqual(t, "the outcome", got.Outcome, batch.Expired)
	wantEqual(t, "the messages that nobody counted", got.ExpiredMessages, 7)
	wantEqual(t, "the objects", len(r.keys("data")), 0)
}

// TestSameBucketAndPrefix has two delivery streams, and a third of the first's name, write to one place.
func TestSameBucketAndPrefix(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start()
	for range 2 {
		s := r.stream("demo", prefixed("p/"))
		s.put([]byte("a record\n"))
		s.delivered(s.hand(s.batch()))
		check(t, r.documents().Remove(t.Context(), s.doc.Name, s.doc.ID))
		check(t, r.js.DeleteStream(t.Context(), s.log().JetStream()))
	}
	other := r.stream("demo-1", prefixed("p/"))
	other.put([]byte("a record\n"))
	other.delivered(other.hand(other.batch()))
	wantEqual(t, "the objects", len(r.keys("data")), 3)
}

// TestManyBatchesTwoServices has two replicas share the batches of two delivery streams.
func TestManyBatchesTwoServices(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	one, _ := r.start()
	two, _ := r.start()
	var want [][]byte
	var batches []batch.Descriptor
	streams := []*deliveryStream{r.stream("one"), r.stream("two", compressed)}
	for i := range 10 {
		for _, s := range streams {
			record := noise(part/9, i)
			var d batch.Descriptor
			if i%5 == 0 { // of several parts
				first := s.put(record)
				last := first
				for range 10 {
					last = s.put(record)
				}
				d = s.describe(first, last)
				record = bytes.Repeat(record, 11)
			} else {
				seq := s.put(record)
				d = s.describe(seq, seq)
			}
			want = append(want, record)
			batches = append(batches, s.hand(d))
		}
	}
	for i, d := range batches {
		s := streams[i%2]
		got := s.delivered(d)
		data, _ := r.content(got.Location)
		wantContent(t, s.format(), data, want[i])
	}
	wantEqual(t, "the objects", len(r.keys("data")), len(batches))
	for _, key := range r.keys("data") {
		wantEqual(t, "how often "+key+" was written", r.s3.Writes("data", key), 1)
	}
	for _, s := range []*Service{one, two} {
		if s.buffers.Made() > r.cfg.Workers*partsInMemory {
			t.Errorf("%d buffers were made for %d workers", s.buffers.Made(), r.cfg.Workers)
		}
	}
}

// TestShutdownHandsBack stops a service while S3 does not answer; another then delivers the batch, once.
func TestShutdownHandsBack(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"single put": 1000, "multipart": 12 * part / 5} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			reached := make(chan struct{}, 1)
			heal := r.s3.Fail("any", -1, hold(false, reached, nil))
			_, stop := r.start(func(c *Config) { c.AckWait = time.Hour })
			s := r.stream("demo")
			s.fill(size)
			d := s.hand(s.batch())
			<-reached
			stop()
			wantEqual(t, "the outcomes", len(r.deliveries()), 0)
			heal()
			r.start(func(c *Config) { c.AckWait = time.Hour })
			wantEqual(t, "the outcome", s.delivered(d).Outcome, batch.Delivered)
			r.wantOne("data")
		})
	}
}

// TestShutdownFinishes stops a service while S3 is slow: what is in work is finished.
func TestShutdownFinishes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	reached, release := make(chan struct{}, 1), make(chan struct{})
	r.s3.Fail("PutObject", 1, func(store httpHandler, w httpWriter, q *httpRequest) {
		reached <- struct{}{}
		<-release
		store.ServeHTTP(w, q)
	})
	_, stop := r.start()
	s := r.stream("demo")
	s.put([]byte("one\n"))
	s.hand(s.batch())
	<-reached
	stopped := make(chan struct{})
	go func() { defer close(stopped); stop() }()
	close(release)
	<-stopped
	wantEqual(t, "the outcomes", len(r.deliveries()), 1)
	r.wantOne("data")
}

// TestStartsWithoutNATS starts the service first and NATS afterwards.
func TestStartsWithoutNATS(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.stream("demo")
	s.put([]byte("one\n"))
	d := s.hand(s.batch())
	r.nats.Stop()
	service, _ := r.start()
	if err := service.Ready(); err == nil {
		t.Error("ready without NATS")
	}
	r.nats.Restart()
	natstest.WaitFor(t, "ready", func() bool { return service.Ready() == nil })
	wantEqual(t, "the outcome", s.delivered(d).Outcome, batch.Delivered)
	r.wantOne("data")
}

// TestReplicasAreListed looks for what an operator sees.
func TestReplicasAreListed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start()
	kv, err := r.js.KeyValue(t.Context(), names.MembersBucket)
	check(t, err)
	natstest.WaitFor(t, "a member of the group s3sink", func() bool {
		keys, err := kv.Keys(t.Context())
		return err == nil && len(keys) == 1 && strings.HasPrefix(keys[0], "s3sink.")
	})
}

func TestSettings(t *testing.T) {
	defaults := Config{}
	parser, err := settings.Parser("test", "", &defaults, io.Discard, os.Stderr, func(int) {})
	check(t, err)
	_, err = parser.Parse(nil)
	check(t, err)
	wantEqual(t, "the part size", defaults.PartSize, 5<<20)
	wantEqual(t, "the memory of parts", defaults.PartMemory, 32<<20)
	wantEqual(t, "the size of a put", defaults.PutSize, 1<<30)
	wantEqual(t, "the signing", defaults.S3SignPayload, "auto")
	wantEqual(t, "the workers", defaults.Workers, 8)
	wantEqual(t, "the workers per stream", defaults.WorkersPerStream, 4)
	wantEqual(t, "the ack wait", defaults.AckWait, 30*time.Second)
	wantEqual(t, "the S3 timeout", defaults.S3Timeout, time.Minute)
	wantEqual(t, "the ACL", defaults.S3ACL, "auto")
	wantEqual(t, "the STS", defaults.STSEndpoint, "")

	tests := []struct {
		name   string
		change func(*Config)
		want   string // in the error; "" if the settings are right
	}{
		{"defaults", func(*Config) {}, ""},
		{"endpoint", func(c *Config) { c.S3Endpoint = "https://s3.example.com" }, ""},
		{"endpoint without a scheme", func(c *Config) { c.S3Endpoint = "localhost:9000" }, "HYDRANT_S3_ENDPOINT"},
		{"endpoint with a password", func(c *Config) { c.S3Endpoint = "http://me:hidden@localhost" }, "HYDRANT_S3_ENDPOINT"},
		{"region", func(c *Config) { c.S3Region = "" }, "HYDRANT_S3_REGION"},
		{"key without secret", func(c *Config) { c.S3AccessKeyID = "AKIA" }, "HYDRANT_S3_SECRET_ACCESS_KEY"},
		{"secret without key", func(c *Config) { c.S3SecretAccessKey = "hidden" }, "HYDRANT_S3_ACCESS_KEY_ID"},
		{"token without key", func(c *Config) { c.S3SessionToken = "hidden" }, "HYDRANT_S3_SESSION_TOKEN"},
		{"timeout", func(c *Config) { c.S3Timeout = time.Millisecond }, "HYDRANT_S3_TIMEOUT"},
		{"checksums", func(c *Config) { c.S3Checksums = "none" }, "HYDRANT_S3_CHECKSUMS"},
		{"ACL", func(c *Config) { c.S3ACL = "public" }, "HYDRANT_S3_ACL"},
		{"AWS's STS", func(c *Config) { c.STSEndpoint = "aws" }, ""},
		{"another STS", func(c *Config) { c.STSEndpoint = "https://sts.example.com/" }, ""},
		{"STS without a scheme", func(c *Config) { c.STSEndpoint = "sts.example.com" }, "HYDRANT_STS_ENDPOINT"},
		{"STS with a password", func(c *Config) { c.STSEndpoint = "https://me:hidden@sts.example.com" }, "HYDRANT_STS_ENDPOINT"},
		{"small parts", func(c *Config) { c.PartSize = objectstore.MinPartSize - 1 }, "HYDRANT_PART_SIZE"},
		{"large parts", func(c *Config) { c.PartSize = 1<<30 + 1 }, "HYDRANT_PART_SIZE"},
		{"memory for no part", func(c *Config) { c.PartMemory = c.PartSize - 1 }, "HYDRANT_PART_MEMORY"},
		{"memory for one part", func(c *Config) { c.PartMemory = c.PartSize }, ""},
		{"memory for too many parts", func(c *Config) { c.PartMemory = 1 << 60 }, "HYDRANT_PART_MEMORY"},
		{"large puts", func(c *Config) { c.PutSize = objectstore.MaxPutSize + 1 }, "HYDRANT_PUT_SIZE"},
		{"negative puts", func(c *Config) { c.PutSize = -1 }, "HYDRANT_PUT_SIZE"},
		{"no puts from the log", func(c *Config) { c.PutSize = 0 }, ""},
		{"signing", func(c *Config) { c.S3SignPayload = "sometimes" }, "HYDRANT_S3_SIGN_PAYLOAD"},
		{"workers", func(c *Config) { c.Workers = 0 }, "HYDRANT_WORKERS"},
		{"workers per stream", func(c *Config) { c.WorkersPerStream = 9 }, "HYDRANT_WORKERS_PER_STREAM"},
		{"retry", func(c *Config) { c.RetryMax = time.Millisecond }, "HYDRANT_RETRY_MAX"},
		{"replicas", func(c *Config) { c.NATS.Replicas = 2 }, "HYDRANT_REPLICAS"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := defaults
			tt.change(&cfg)
			_, err := New(cfg, service.Runtime{Log: testLog(t), Metrics: prometheus.NewRegistry()})
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("the error is %v, want one that names %s", err, tt.want)
			case err != nil && strings.Contains(err.Error(), "hidden"):
				t.Errorf("the error shows a secret: %v", err)
			}
		})
	}
}

// TestUndeliverable is a destination that this build cannot write: the batch waits, for a newer build or another setting.
func TestUndeliverable(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.stream("demo", func(d *doc) { d.Destination.S3.CompressionFormat = "BROTLI" })
	s.put([]byte("one\n"))
	_, err := r.destination().Deliver(t.Context(), s.attempt(s.batch()))
	var e *delivery.Error
	if !errors.As(err, &e) || e.Class != delivery.Permanent || !strings.Contains(e.Err.Error(), "BROTLI") {
		t.Errorf("Deliver returned %v, want a permanent error that names the compression", err)
	}
}
