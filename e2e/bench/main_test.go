package main

import (
	"strings"
	"testing"
	"time"
)

func TestChosen(t *testing.T) {
	for _, c := range []struct {
		name string
		list string
		want string
		err  string
	}{
		{"one", "latency", "latency", ""},
		{"in the order of the table", "latency,batch", "batch,latency", ""},
		{"unknown", "batch,speed", "", `no row "speed"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			rows, err := chosen(c.list)
			var names []string
			for _, r := range rows {
				names = append(names, r.name)
			}
			if got := strings.Join(names, ","); got != c.want {
				t.Errorf("chosen are %q, want %q", got, c.want)
			}
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("the error is %v, want %q", err, c.err)
			}
		})
	}
}

func TestArguments(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"-rounds 0", "-rounds 0 is not accepted"},
		{"-length 1ms", "-length 1ms is not accepted"},
		{"-rows speed", `no row "speed"`},
		{"batch", `"batch" is not accepted`},
		{"-rounds 5 -length 2s -rows batch", ""},
	} {
		var out strings.Builder
		_, err := parse(strings.Fields(c.args), &out)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(out.String(), c.want)) {
			t.Errorf("%s: %v, printed %q; want %q", c.args, err, out.String(), c.want)
		}
	}
}

// The whole table is to be measured within eleven minutes.
func TestTheDefaultsTakeElevenMinutesAtMost(t *testing.T) {
	o, err := parse(nil, &strings.Builder{})
	if err != nil {
		t.Fatal(err)
	}
	total := buildTime
	for _, s := range specs() {
		total += s.estimate(o)
	}
	if total > 11*time.Minute {
		t.Errorf("the estimates come to %s", total)
	}
}

func TestClock(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0:00", 61 * time.Second: "1:01", 599600 * time.Millisecond: "10:00"} {
		if got := clock(d); got != want {
			t.Errorf("%s is %s, want %s", d, got, want)
		}
	}
}
