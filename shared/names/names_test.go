package names_test

import (
	"encoding/hex"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"hydrant/shared/names"
)

// Characters that mean something in subjects, keys or JetStream's names stand out of proportion.
const alphabet = "abzABZ019._-._-._-"

func randomStream(r *rand.Rand) names.Stream {
	b := make([]byte, 1+r.IntN(64))
	for i := range b {
		b[i] = alphabet[r.IntN(len(alphabet))]
	}
	return names.Stream(b)
}

var awkward = []names.Stream{
	"a", "0", ".", "..", "_", "__", "-", "-a", "a-", ".a", "a.", "a..b", "a.b", "a_b", "a_0", "a_0_0", "0_1", "_0_",
	"RECORDS_a_0", "a.b_c-d.0", "A", "1_", "1-2-3", "s3sink_a", names.Stream(strings.Repeat(".", 64)), names.Stream(strings.Repeat("_", 64)),
}

func TestKeyIsABijection(t *testing.T) {
	valid := regexp.MustCompile(`^[-/_=.a-zA-Z0-9]+$`) // of nats.go, for keys
	r := rand.New(rand.NewPCG(1, 2))
	streams := append([]names.Stream(nil), awkward...)
	for range 2000 {
		streams = append(streams, randomStream(r))
	}
	owner := map[string]names.Stream{}
	for _, s := range streams {
		key := s.Key()
		if back := names.StreamFromKey(key); back != s {
			t.Errorf("%q has key %q, which is read as %q", s, key, back)
		}
		if !valid.MatchString(key) || strings.Contains(key, ".") {
			t.Errorf("%q has key %q, which is no safe key", s, key)
		}
		if other, taken := owner[key]; taken && other != s {
			t.Errorf("%q and %q have the same key %q", s, other, key)
		}
		owner[key] = s
	}
}

func TestLogIsABijection(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	logs := []names.Log{}
	for _, s := range awkward {
		for _, shard := range []names.Shard{0, 1, 10, 1<<31 - 1} {
			logs = append(logs, names.Log{Stream: s, Shard: shard, ID: names.NewStreamID()})
		}
	}
	for range 2000 {
		logs = append(logs, names.Log{Stream: randomStream(r), Shard: names.Shard(r.IntN(1000)), ID: names.NewStreamID()})
	}
	for _, l := range logs {
		name := l.JetStream()
		back, ok := names.ParseLog(name)
		if !ok || back != l {
			t.Errorf("%+v is %q, which is read as %+v, %t", l, name, back, ok)
		}
		if strings.ContainsAny(name, ". */\\>\t") {
			t.Errorf("%q is no name of a JetStream stream", name)
		}
		if l.Subject() != names.RecordsSubject(l.Stream, l.Shard) {
			t.Errorf("%+v has subject %q", l, l.Subject())
		}
	}
}

func TestSubjectsTellStreamsApart(t *testing.T) {
	owner := map[string]names.Stream{}
	for _, s := range awkward {
		for _, shard := range []names.Shard{0, 1, 10} {
			for _, subject := range []string{
				names.RecordsSubject(s, shard), names.BatchesSubject(names.LegS3, s, shard), names.BatchesSubject(names.LegES, s, shard),
			} {
				if other, taken := owner[subject]; taken {
					t.Errorf("%q is of %q and of %q", subject, s, other)
				}
				owner[subject] = s
			}
		}
		for subject, tokens := range map[string]int{
			names.RecordsSubject(s, 7):                  3,
			names.BatchesSubject(names.LegBackup, s, 7): 4,
			names.LegBatches(names.LegS3, s):            4,
			names.StreamBatches(s):                      4,
			names.DeliveriesSubject(names.LegES, s):     3,
			names.StagingSubject(s):                     3,
			names.ErrorsSubject(s, "S3Delivery"):        3,
			names.ErrorsSubject(s, "a.b c*"):            3,
			names.StreamErrors(s):                       3,
			names.MetricsSubject(s, "PutRecord.Bytes"):  4,
		} {
			parts := strings.Split(subject, ".")
			if len(parts) != tokens {
				t.Errorf("%q of %q has %d tokens, want %d", subject, s, len(parts), tokens)
			}
			for _, p := range parts {
				if p == "" || strings.ContainsAny(strings.TrimPrefix(p, "*"), "*> \t") {
					t.Errorf("%q of %q is no subject", subject, s)
				}
			}
		}
	}
}

// JetStream gives a subject to one stream, and every leg's outcomes are in DELIVERIES.
func TestStagingIsNoDelivery(t *testing.T) {
	of := func(subject string) (streams int) {
		for _, all := range append(names.DeliveriesSubjects(), names.AllStaging) {
			if strings.HasPrefix(subject, strings.TrimSuffix(all, ">")) {
				streams++
			}
		}
		return streams
	}
	for _, subject := range append(names.StreamDeliveries("web.clicks"), names.StagingSubject("web.clicks")) {
		if n := of(subject); n != 1 {
			t.Errorf("%q is on %d of the subjects, want 1", subject, n)
		}
	}
}

// These are stored, and operators type them: whoever changes one changes the format.
func TestWrittenForms(t *testing.T) {
	log := names.Log{Stream: "web.clicks_eu-1", Shard: 3, ID: "abcdefghij234567"}
	for _, c := range []struct{ name, got, want string }{
		{"log", log.JetStream(), "RECORDS_web~clicks_eu-1_3_abcdefghij234567"},
		{"records", log.Subject(), "records.web~clicks_eu-1.3"},
		{"key", log.Stream.Key(), "web=clicks_eu-1"},
		{"batches", names.BatchesSubject(names.LegS3, log.Stream, 3), "batches.s3.web~clicks_eu-1.3"},
		{"batches of a leg", names.LegBatches(names.LegES, log.Stream), "batches.es.web~clicks_eu-1.*"},
		{"batches of a stream", names.StreamBatches(log.Stream), "batches.*.web~clicks_eu-1.*"},
		{"deliveries", names.DeliveriesSubject(names.LegBackup, log.Stream), "deliveries.backup.web~clicks_eu-1"},
		{"staged objects", names.StagingSubject(log.Stream), "deliveries.staging.web~clicks_eu-1"},
		{"errors", names.ErrorsSubject(log.Stream, "S3Delivery"), "errors.web~clicks_eu-1.S3Delivery"},
		{"errors of another log stream", names.ErrorsSubject(log.Stream, "2026/11/[a.b] ~é*>"), "errors.web~clicks_eu-1.2026/11/[a~2eb]~20~7e~c3~a9~2a~3e"},
		{"errors of a nameless log stream", names.ErrorsSubject("a", ""), "errors.a.~"},
		{"errors of a stream", names.StreamErrors(log.Stream), "errors.web~clicks_eu-1.*"},
		{"datapoints", names.MetricsSubject(log.Stream, "PutRecord.Bytes"), "metrics.web~clicks_eu-1.PutRecord.Bytes"},
		{"datapoints of a stream", names.StreamMetrics(log.Stream), "metrics.web~clicks_eu-1.>"},
		{"datapoints of the account", names.MetricsSubject("", "ListDeliveryStreams.Requests"), "metrics.@account.ListDeliveryStreams.Requests"},
		{"all datapoints of the account", names.StreamMetrics(""), "metrics.@account.>"},
		{"log group", names.LogGroup(log.Stream), "/aws/kinesisfirehose/web.clicks_eu-1"},
		{"log stream", names.LogStream(names.LegS3), "S3Delivery"},
		{"log stream of a backup", names.LogStream(names.LegBackup), "BackupDelivery"},
		{"log stream of Elasticsearch", names.LogStream(names.LegES), "ElasticsearchDelivery"},
		{"s3 consumer", names.SinkConsumer(names.LegS3, log.Stream, log.ID), "s3sink_web~clicks_eu-1_abcdefghij234567"},
		{"es consumer", names.SinkConsumer(names.LegES, log.Stream, log.ID), "es_web~clicks_eu-1_abcdefghij234567"},
		{"backup consumer", names.SinkConsumer(names.LegBackup, log.Stream, log.ID), "backup_web~clicks_eu-1_abcdefghij234567"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.got != c.want {
				t.Errorf("got %q, want %q", c.got, c.want)
			}
		})
	}
}

func TestParseLogRefuses(t *testing.T) {
	for _, name := range []string{
		"", "RECORDS_", "RECORDS", "RECORDS_a", "RECORDS_a_0", "RECORDS__0_x", "RECORDS_a_x_y", "RECORDS_a__x", "RECORDS_a_0_",
		"RECORDS_a_-1_x", "RECORDS_a_+1_x", "RECORDS_a_01_x", "RECORDS_a_2147483648_x", "RECORDS_a_99999999999999999999_x",
		"records_a_0_x", "BATCHES", "DELIVERIES", "ERRORS", "KV_STREAMS", "KV_MEMBERS", "KV_HYDRANT", "XRECORDS_a_0_x",
	} {
		t.Run(name, func(t *testing.T) {
			if l, ok := names.ParseLog(name); ok {
				t.Errorf("read as %+v", l)
			}
		})
	}
}

func FuzzParseLog(f *testing.F) {
	f.Add("RECORDS_a_0_abcdefghij234567")
	f.Add("RECORDS_a_b_00_x")
	f.Add("RECORDS_~_0__")
	f.Fuzz(func(t *testing.T, name string) {
		l, ok := names.ParseLog(name)
		if !ok {
			return
		}
		if strings.Contains(name, ".") {
			t.Skip("JetStream has no such names")
		}
		if got := l.JetStream(); got != name {
			t.Errorf("%q is read as %+v, which is written %q", name, l, got)
		}
	})
}

func TestNewStreamID(t *testing.T) {
	form := regexp.MustCompile(`^[a-z2-7]{16}$`)
	seen := map[names.StreamID]bool{}
	for range 1000 {
		id := names.NewStreamID()
		if !form.MatchString(string(id)) {
			t.Fatalf("%q is not of 16 characters of [a-z2-7]", id)
		}
		if seen[id] {
			t.Fatalf("%q was made twice", id)
		}
		seen[id] = true
	}
}

// Whatever a log stream is called, it is one token of a subject, and that of no other log stream.
func FuzzErrorsSubject(f *testing.F) {
	for _, name := range []string{"S3Delivery", "", "~", "~2e", ".", "a.b", "a b", "*", ">", "\x00", "é", "2026/11/[$LATEST]", "\xff"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		token, found := strings.CutPrefix(names.ErrorsSubject("s", name), "errors.s.")
		if !found || token == "" || strings.ContainsAny(token, ".*> \t\r\n\x00") {
			t.Fatalf("%q is under %q", name, token)
		}
		if back := undone(t, token); back != name {
			t.Errorf("%q has the token %q, which stands for %q", name, token, back)
		}
	})
}

// undone reads a token back: what can be undone has no two sources.
func undone(t *testing.T, token string) string {
	t.Helper()
	if token == "~" {
		return ""
	}
	var name []byte
	for len(token) > 0 {
		if token[0] != '~' {
			name, token = append(name, token[0]), token[1:]
			continue
		}
		c, err := hex.DecodeString(token[1:3])
		if err != nil {
			t.Fatalf("%q: %v", token, err)
		}
		name, token = append(name, c...), token[3:]
	}
	return string(name)
}
