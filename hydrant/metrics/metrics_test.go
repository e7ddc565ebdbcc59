package metrics

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"hydrant/hydrant/internal/inspect"
	"hydrant/shared/broker"
	"hydrant/shared/catalog"
	"hydrant/shared/datapoints"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
	"hydrant/shared/settings"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.ServersOwn()...) }

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\n%s\nwant:\n%s", name, got, want)
	}
}

// installation is Hydrant's state in NATS, written by hand: no service runs.
type installation struct {
	t  *testing.T
	js jetstream.JetStream
	// cfg reaches it.
	cfg broker.Config
}

func newInstallation(t *testing.T, streams ...names.Stream) *installation {
	t.Helper()
	s := natstest.Start(t)
	in := &installation{t: t, js: s.JetStream(), cfg: broker.Config{NATSURL: s.URL(), Replicas: 1, Retention: time.Hour}}
	in.must(broker.Prepare(t.Context(), in.js, in.cfg, slog.New(slog.DiscardHandler)))
	c, err := catalog.Open(t.Context(), in.js)
	in.must(err)
	for _, name := range streams {
		in.must(c.Create(t.Context(), &catalog.DeliveryStream{
			Name: name, ID: names.NewStreamID(), Status: types.DeliveryStreamStatusActive, Created: time.Now().UTC(), Version: 1,
		}))
	}
	return in
}

func (in *installation) must(err error) {
	in.t.Helper()
	if err != nil {
		in.t.Fatal(err)
	}
}

// noon is a time that every clock is behind.
func noon() time.Time { return time.Date(2026, 1, 2, 12, 0, 30, 0, time.UTC) }

// minute publishes a datapoint of a minute before noon.
func (in *installation) minute(ago int, d datapoints.Datapoint) {
	in.t.Helper()
	d.Unit = datapoints.UnitOf(d.Metric)
	d.Minute = noon().Truncate(time.Minute).Add(-time.Duration(ago) * time.Minute)
	if d.Samples == 0 {
		d.Samples, d.Min, d.Max = 1, d.Sum, d.Sum
	}
	if d.Replica == "" {
		d.Replica = "one"
	}
	data, err := d.Encode()
	in.must(err)
	_, err = in.js.Publish(in.t.Context(), d.Subject(), data)
	in.must(err)
}

// busy has an hour of metrics of "demo", from two replicas, some published twice, and others that are none of it.
func busy(t *testing.T) *installation {
	in := newInstallation(t, "demo", "other")
	for ago := 55; ago > 0; ago-- {
		if ago > 20 && ago < 26 { // nobody put anything
			continue
		}
		n := float64((ago * 7) % 23)
		in.minute(ago, datapoints.Datapoint{Stream: "demo", Metric: datapoints.IncomingBytes, Samples: 3, Sum: 1000 * n, Min: 100, Max: 500 * n})
		in.minute(ago, datapoints.Datapoint{Stream: "demo", Metric: datapoints.PutRecordLatency, Samples: 2, Sum: n, Min: 0.25, Max: n})
		if ago%5 == 0 {
			in.minute(ago, datapoints.Datapoint{Stream: "demo", Metric: "DeliveryToS3.Success", Samples: 3, Sum: 2, Max: 1})
			in.minute(ago, datapoints.Datapoint{Stream: "demo", Metric: "DeliveryToS3.DataFreshness", Sum: 300 + n})
			in.minute(ago, datapoints.Datapoint{Stream: "demo", Metric: "DeliveryToS3.ObjectCount", Sum: 1})
		}
	}
	for _, replica := range []string{"two", "two", "three"} { // one of them repeats itself
		in.minute(30, datapoints.Datapoint{Stream: "demo", Metric: datapoints.IncomingBytes, Sum: 50_000, Replica: replica, Round: 7})
	}
	in.minute(300, datapoints.Datapoint{Stream: "demo", Metric: datapoints.IncomingBytes, Sum: 1e9}) // too old
	in.minute(3, datapoints.Datapoint{Stream: "other", Metric: datapoints.IncomingBytes, Sum: 1e9})
	in.minute(3, datapoints.Datapoint{Metric: datapoints.ListRequests, Sum: 4, Samples: 4, Min: 1, Max: 1})
	return in
}

func (in *installation) collect(c Command) Report {
	in.t.Helper()
	c.NATS = in.cfg
	if c.Since == 0 {
		c.Since = time.Hour
	}
	r, err := c.collect(in.t.Context(), in.js, noon())
	in.must(err)
	return r
}

func TestGolden(t *testing.T) {
	in := busy(t)
	r := in.collect(Command{Stream: "demo", Account: true})
	golden(t, "demo.utf8", r.render(false))
	golden(t, "demo.ascii", r.render(true))
	for line := range strings.Lines(r.render(false)) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("a line of %d characters: %s", n, line)
		}
	}
	if text := r.render(true); strings.ContainsFunc(text, func(c rune) bool { return c > 126 }) {
		t.Errorf("not ASCII:\n%s", text)
	}
	var out bytes.Buffer
	in.must(in.collect(Command{Stream: "demo", Metric: "DeliveryToS3.Success", Period: 20 * time.Minute}).encode(&out))
	golden(t, "success.json", out.String())
}

func TestWhatIsAskedFor(t *testing.T) {
	in := busy(t)
	for _, c := range []struct {
		name    string
		command Command
		want    []string
	}{
		{"a delivery stream", Command{Stream: "demo"}, []string{
			"demo DeliveryToS3.DataFreshness", "demo DeliveryToS3.ObjectCount", "demo DeliveryToS3.Success", "demo IncomingBytes", "demo PutRecord.Latency",
		}},
		{"and the account", Command{Stream: "other", Account: true}, []string{"other IncomingBytes", " ListDeliveryStreams.Requests"}},
		{"the account alone", Command{}, []string{" ListDeliveryStreams.Requests"}},
		{"one metric", Command{Stream: "demo", Metric: "IncomingBytes"}, []string{"demo IncomingBytes"}},
		{"a metric that there is not", Command{Stream: "demo", Metric: "Incoming"}, nil},
		{"a later time", Command{Stream: "other", Since: 2 * time.Minute}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, m := range in.collect(c.command).Metrics {
				got = append(got, string(m.Stream)+" "+m.Metric)
			}
			if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// Replicas are added up, and a repeat is not.
func TestRepeatsCountOnce(t *testing.T) {
	in := newInstallation(t, "demo")
	d := datapoints.Datapoint{Stream: "demo", Metric: datapoints.IncomingBytes, Sum: 10, Samples: 2, Min: 4, Max: 6, Replica: "one", Round: 1}
	in.minute(3, d)
	in.minute(3, d)
	in.minute(2, d) // another minute of the same round
	d.Round = 2
	in.minute(3, d)
	d.Replica, d.Min, d.Max = "two", 1, 9
	in.minute(3, d)
	m := in.collect(Command{Stream: "demo"}).Metrics[0]
	if m.Sum != 40 || m.Samples != 8 || m.Min != 1 || m.Max != 9 || m.Average != 5 || len(m.Points) != 2 || m.Points[0].Sum != 30 {
		t.Errorf("got %+v", m)
	}
}

func TestUnreadable(t *testing.T) {
	in := newInstallation(t, "demo")
	_, err := in.js.Publish(t.Context(), "metrics.demo.IncomingBytes", []byte(`{"format":2}`))
	in.must(err)
	r := in.collect(Command{Stream: "demo"})
	if text := r.render(true); !strings.Contains(text, "no datapoints of demo") || !strings.Contains(text, "1 datapoints are left out") {
		t.Errorf("got\n%s", text)
	}
}

func TestRun(t *testing.T) {
	in := newInstallation(t, "demo")
	var out bytes.Buffer
	c := Command{NATS: in.cfg, Stream: "demo", Since: time.Hour}
	in.must(c.Run(t.Context(), &out))
	if !strings.Contains(out.String(), "no datapoints of demo") || !strings.Contains(out.String(), "A minute is written when it is over") {
		t.Errorf("got %s", &out)
	}
	out.Reset()
	c.JSON = true
	in.must(c.Run(t.Context(), &out))
	var r Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil || r.Stream != "demo" || r.PeriodSeconds != 60 || r.Metrics == nil {
		t.Errorf("got %v, %s", err, &out)
	}
	c.Stream = "absent"
	if err := c.Run(t.Context(), io.Discard); !errors.Is(err, catalog.ErrNotFound) || err.Error() != "delivery stream not found: absent" {
		t.Errorf("an unknown delivery stream: %v", err)
	}
	in.must(in.js.DeleteStream(t.Context(), names.MetricsStream))
	c.Stream = "demo"
	if err := c.Run(t.Context(), io.Discard); !errors.Is(err, errNoDatapoints) {
		t.Errorf("an older installation: %v", err)
	}
	c.NATS.NATSURL = natstest.Start(t).URL()
	if err := c.Run(t.Context(), io.Discard); !errors.Is(err, inspect.ErrNoInstallation) {
		t.Errorf("no installation: %v", err)
	}
	c.NATS.NATSURL = "nats://me:hidden@127.0.0.1:1"
	if err := c.Run(t.Context(), io.Discard); err == nil || !strings.Contains(err.Error(), "no NATS at nats://127.0.0.1:1") {
		t.Errorf("no NATS: %v", err)
	}
}

func TestWindow(t *testing.T) {
	at := func(clock string) time.Time {
		v, err := time.Parse("15:04:05", clock)
		if err != nil {
			t.Fatal(err)
		}
		return time.Date(2026, 1, 2, v.Hour(), v.Minute(), v.Second(), 0, time.UTC)
	}
	for _, c := range []struct {
		name           string
		now            time.Time
		since, period  time.Duration
		from, to       time.Time
		periods        int
		wantedOfPeriod time.Duration
	}{
		{"an hour", at("12:00:30"), time.Hour, 0, at("11:00:00"), at("12:01:00"), 61, time.Minute},
		{"an hour, to the minute", at("12:00:00"), time.Hour, 0, at("11:00:00"), at("12:00:00"), 60, time.Minute},
		{"two hours", at("12:01:30"), 2 * time.Hour, 0, at("10:00:00"), at("12:02:00"), 61, 2 * time.Minute},
		{"a day", at("23:59:59"), 23 * time.Hour, 0, at("00:30:00"), at("23:59:59").Add(time.Second), 47, 30 * time.Minute},
		{"a fortnight", at("00:00:00"), longestSince, 0, at("00:00:00").Add(-longestSince), at("00:00:00"), 56, 6 * time.Hour},
		{"a period of one's own", at("12:00:30"), time.Hour, 7 * time.Minute, at("10:59:00"), at("12:02:00"), 9, 7 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWindow(c.now, c.since, c.period)
			if c.period == 0 && (!w.from.Equal(c.from) || !w.to.Equal(c.to) || w.periods() != c.periods) || w.period != c.wantedOfPeriod {
				t.Errorf("got %s to %s, %d of %s", w.from, w.to, w.periods(), w.period)
			}
			if w.from.After(c.now.Add(-c.since)) || w.to.Before(c.now) || w.to.Sub(w.from)%w.period != 0 {
				t.Errorf("%s to %s does not hold the time", w.from, w.to)
			}
		})
	}
}

// A chart has room for any time, and says what one column is.
func TestChartOfManyPeriods(t *testing.T) {
	in := newInstallation(t, "demo")
	for ago := 1; ago < 24*60; ago += 60 {
		in.minute(ago, datapoints.Datapoint{Stream: "demo", Metric: datapoints.IncomingRecords, Sum: float64(ago)})
	}
	text := in.collect(Command{Stream: "demo", Since: 24 * time.Hour, Period: time.Minute}).render(false)
	golden(t, "day.utf8", text)
	for line := range strings.Lines(text) {
		if n := utf8.RuneCountInString(line); n > 80 {
			t.Errorf("a line of %d characters: %s", n, line)
		}
	}
}

func TestLevels(t *testing.T) {
	for _, c := range []struct {
		v, highest float64
		want       int
	}{{0, 0, 0}, {0, 10, 0}, {0.01, 10, 1}, {5, 10, 4}, {9.99, 10, 7}, {10, 10, 7}} {
		if got := level(c.v, c.highest, 8); got != c.want {
			t.Errorf("%v of %v is at %d, want %d", c.v, c.highest, got, c.want)
		}
	}
}

func TestValues(t *testing.T) {
	for _, c := range []struct {
		unit datapoints.Unit
		v    float64
		want string
	}{
		{datapoints.Bytes, 1536, "1.50 KB"},
		{datapoints.Milliseconds, 0.256, "0.26 ms"},
		{datapoints.Milliseconds, 12.34, "12.3 ms"},
		{datapoints.Milliseconds, 1500, "1.5 s"},
		{datapoints.Seconds, 301.5, "5m01s"},
		{datapoints.None, 2. / 3, "66.7 %"},
		{datapoints.None, 1, "100 %"},
		{datapoints.None, 0, "0 %"},
		{datapoints.Count, 7, "7"},
		{datapoints.Count, 1.5, "1.5"},
		{datapoints.Count, 123_456.7, "123k"},
	} {
		if got := value(c.unit, c.v); got != c.want {
			t.Errorf("%v %s is %q, want %q", c.v, c.unit, got, c.want)
		}
	}
}

func TestLocale(t *testing.T) {
	for _, c := range []struct {
		all, ctype, lang string
		want             bool
	}{
		{"", "", "", false}, {"", "", "C", false}, {"", "", "en_US.UTF-8", true}, {"", "", "C.utf8", true},
		{"C", "", "en_US.UTF-8", false}, {"", "POSIX", "en_US.UTF-8", false}, {"de_DE.UTF-8", "C", "C", true},
	} {
		got := utf8Locale(func(name string) string {
			return map[string]string{"LC_ALL": c.all, "LC_CTYPE": c.ctype, "LANG": c.lang}[name]
		})
		if got != c.want {
			t.Errorf("%+v: %t", c, got)
		}
	}
}

func TestSettings(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		want string // of the error
	}{
		{"none", nil, ""},
		{"all", []string{"demo", "--since=24h", "--period=5m", "--metric=DeliveryToS3.Bytes", "--account", "--ascii", "--json"}, ""},
		{"since", []string{"--since=1s"}, "--since (HYDRANT_SINCE): 1s is not accepted"},
		{"period", []string{"--period=90s"}, "--period (HYDRANT_PERIOD): 1m30s is not accepted"},
		{"longer period", []string{"--period=2h"}, "--period (HYDRANT_PERIOD): 2h0m0s is not accepted"},
		{"metric", []string{"--metric=Incoming*"}, `--metric (HYDRANT_METRIC): "Incoming*" is not accepted`},
		{"NATS", []string{"--replicas=2"}, "HYDRANT_REPLICAS"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var program struct {
				Metrics Command `cmd:""`
			}
			parser, err := settings.Parser("hydrant", "", &program, io.Discard, io.Discard, func(int) {})
			if err != nil {
				t.Fatal(err)
			}
			_, err = parser.Parse(append([]string{"metrics"}, test.args...))
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}
