package status

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"hydrant/hydrant/internal/text"
	"hydrant/shared/names"
)

func TestRenderFits(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	large := Leg{
		Stream: names.Stream(strings.Repeat("a", 32) + strings.Repeat("b", 32)), Status: "DELETING", Leg: names.LegBackup,
		Buffered:          Buffered{Records: math.MaxInt32, Bytes: 1023 << 40, LowerBound: true},
		Pending:           Pending{Batches: 99_999, Records: 999_999_999, Bytes: 1023 << 30, LowerBound: true},
		Delivered:         Total{Records: math.MaxInt32, Bytes: 1023 << 50},
		SetAside:          Total{Records: 99_999},
		Expired:           Expired{Records: 99_998, Messages: 1},
		OldestUndelivered: now.Add(-13*24*time.Hour - 23*time.Hour),
		Failing: Failing{
			Batches: 7, LastErrorCode: "S3.AccessDenied", LastErrorAt: now.Add(time.Minute),
			LastErrorMessage: "Access was denied.\n\x1b[31m" + strings.Repeat(" and so on", 40),
		},
	}
	var out bytes.Buffer
	if err := Render(&out, []Leg{large, {Stream: "short", Problem: "a problem"}}, now); err != nil {
		t.Fatal(err)
	}
	golden(t, "large.table", out.String())
	for line := range strings.Lines(out.String()) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > lineWidth {
			t.Errorf("line of %d characters: %s", n, line)
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("an error's text reaches the terminal as it is")
	}
}

func TestUnits(t *testing.T) {
	tests := []struct{ name, got, want string }{
		{"not later than now", text.Duration(age(time.Unix(10, 0), time.Unix(5, 0))), "0s"},
		{"a day", span24(86400), "24h"},
		{"an hour and a half", span24(5400), "1h30m"},
		{"ninety seconds", span24(90), "1m30s"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.got != test.want {
				t.Errorf("got %q, want %q", test.got, test.want)
			}
		})
	}
}

func TestSummary(t *testing.T) {
	report := Report{
		Time:         time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC),
		SinceSeconds: 86400,
		NATS:         Server{Name: "hydrant", Version: "2.15.2", URL: "nats://127.0.0.1:4222"},
		Legs:         []Leg{{Stream: "demo", Leg: names.LegS3}},
	}
	tests := []struct {
		name    string
		streams int
		store   Store
		want    string
	}{
		{
			"limit known", 1, Store{UsedBytes: 3 << 30, LimitBytes: 10 << 30},
			"1 delivery stream; delivered, set aside and expired in the last 24h; store: 3.00 GB of 10.0 GB (30 %); NATS: hydrant\n    2.15.2 at nats://127.0.0.1:4222\n",
		},
		{
			"limit not known", 1000, Store{UsedBytes: 3 << 30},
			"1000 delivery streams; delivered, set aside and expired in the last 24h; store: 3.00 GB, limit not known (--store-bytes\n    or --nats-monitor-url tells it); NATS: hydrant 2.15.2 at nats://127.0.0.1:4222\n",
		},
		{
			"monitoring down", 2, Store{Problem: "connection refused"},
			"2 delivery streams; delivered, set aside and expired in the last 24h; store: 0 B, limit not known (connection refused);\n    NATS: hydrant 2.15.2 at nats://127.0.0.1:4222\n",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			report.DeliveryStreams, report.Store = test.streams, test.store
			var out bytes.Buffer
			if err := report.render(&out); err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(out.String(), "\n\n"+test.want) {
				t.Errorf("got\n%s\nwant it to end with\n%s", &out, test.want)
			}
		})
	}
}

// Servers whose clocks are apart are named under the table, the others not.
func TestClocksApart(t *testing.T) {
	report := Report{Clocks: []Clock{{"n1", 9.9}, {"n2", 124.998}, {"n3", -10}, {"n4", 0}}}
	var out bytes.Buffer
	if err := report.render(&out); err != nil {
		t.Fatal(err)
	}
	const network = "this machine's: have both set by network time; where clocks are a minute apart and more, repeated calls may be stored twice "
	want := "the clock of NATS server n2 is 2m05s ahead of " + network + "the clock of NATS server n3 is 10s behind " + network + "0 delivery streams;"
	if got := strings.Join(strings.Fields(out.String()), " "); !strings.Contains(got, want) || strings.Count(got, "the clock of") != 2 {
		t.Errorf("got\n%s", &out)
	}
}
