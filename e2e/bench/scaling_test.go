package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"hydrant/e2e/bench/internal/report"
	"hydrant/shared/batch"
	"hydrant/shared/names"
)

func TestScalingIsChosenByName(t *testing.T) {
	all, err := chosen("")
	if err != nil || slices.ContainsFunc(all, func(s spec) bool { return strings.HasPrefix(s.name, "scale-") }) {
		t.Errorf("without a name these are chosen: %v, %v", all, err)
	}
	if rows, err := chosen(scaling); err != nil || len(rows) != len(scalingSpecs()) {
		t.Errorf("%d rows are chosen, %v", len(rows), err)
	}
	if rows, err := chosen("scale-es,batch"); err != nil || len(rows) != 2 || rows[1].name != "scale-es" {
		t.Errorf("chosen are %v, %v", rows, err)
	}
}

// `make scaling` takes four rounds.
func TestScalingTakesTwelveMinutesAtMost(t *testing.T) {
	o, err := parse([]string{"-rounds", "4"}, &strings.Builder{})
	if err != nil {
		t.Fatal(err)
	}
	total := buildTime
	for _, s := range scalingSpecs() {
		total += s.estimate(o)
	}
	if total > 12*time.Minute {
		t.Errorf("the estimates come to %s", total)
	}
}

func TestTurns(t *testing.T) {
	cases := replicaCounts()
	if there, back := turnOf(cases, 0), turnOf(cases, 1); !slices.Equal(there, []int{1, 2, 4}) || !slices.Equal(back, []int{4, 2, 1}) {
		t.Errorf("the turns are %v and %v", there, back)
	}
}

func TestRatios(t *testing.T) {
	row := &report.Row{}
	for _, rates := range [][2]float64{{100, 150}, {50, 100}} {
		row.Cell("one", rateColumn, "").Add(rates[0])
		row.Cell("two", rateColumn, "").Add(rates[1])
		ratios(row, "", map[string]string{"one": "one", "two": "one"})
	}
	if got := row.Cell("two", ratioToOne, "").Rounds; !slices.Equal(got, []float64{1.5, 2}) {
		t.Errorf("the ratios are %v", got)
	}
	if got := row.Cell("one", ratioToOne, "").Rounds; !slices.Equal(got, []float64{1, 1}) {
		t.Errorf("the ratios of one are %v", got)
	}
}

const haproxyConfig = `global
    maxconn 4000

resolvers engine
    parse-resolv-conf

# a comment
frontend api
    bind :4573

backend ingest
    server-template ingest- 32 ingest:4573 resolvers engine

frontend admin
    bind :8404
`

func TestFrontConfig(t *testing.T) {
	replicas := []replica{{listen: "127.0.0.1:11", api: "127.0.0.1:10"}, {listen: "127.0.0.1:21", api: "127.0.0.1:20"}}
	got, err := frontConfig(haproxyConfig, "127.0.0.1:1", "127.0.0.1:2", replicas)
	want := `global
    maxconn 4000

# a comment
frontend api
    bind 127.0.0.1:1

backend ingest
    server ingest-1 127.0.0.1:10 check port 11
    server ingest-2 127.0.0.1:20 check port 21

frontend admin
    bind 127.0.0.1:2
`
	if got != want || err != nil {
		t.Errorf("got %v\n%s", err, got)
	}
	for _, gone := range []string{"resolvers engine\n    parse", "bind :4573", "server-template", "bind :8404"} {
		if _, err := frontConfig(strings.Replace(haproxyConfig, gone, "other", 1), "", "", replicas); err == nil {
			t.Errorf("without %q there is no error", gone)
		}
	}
}

// The file that is deployed has what is replaced.
func TestFrontConfigOfTheDeployedOne(t *testing.T) {
	deployed, err := deployedFront()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := frontConfig(deployed, "127.0.0.1:1", "127.0.0.1:2", nil); err != nil {
		t.Error(err)
	}
}

func TestCutBatchesCountOnce(t *testing.T) {
	d := batch.Descriptor{Stream: "s", StreamID: names.NewStreamID(), Leg: names.LegS3, Version: 1, First: 1, Last: 2, Messages: 2, Records: 2, Bytes: 7,
		Oldest: time.Now(), Newest: time.Now(), Reason: batch.ReasonSize}
	data, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	c := &cutBatches{seen: map[batch.ID]bool{}}
	at := time.Now()
	c.add(&nats.Msg{Subject: "x", Data: data}, at)
	c.add(&nats.Msg{Subject: "x", Data: data}, at.Add(time.Second))
	got, err := c.reach(t.Context(), 7)
	if err != nil || len(got) != 1 || got[0].at != at || got[0].subject != "x" {
		t.Errorf("got %+v, %v", got, err)
	}
	c.add(&nats.Msg{Data: []byte("{")}, at)
	if _, err := c.reach(t.Context(), 8); err == nil {
		t.Error("a descriptor that cannot be read is passed over")
	}
}

func TestCutRate(t *testing.T) {
	began := time.Now()
	var all []cutBatch
	for n := range 11 {
		all = append(all, cutBatch{at: began.Add(time.Duration(n) * 10 * time.Millisecond)})
	}
	if got := cutRate(all); got < 99.9 || got > 100.1 {
		t.Errorf("the rate is %v", got)
	}
}

func TestOthers(t *testing.T) {
	o := observed{length: 2 * time.Second, used: usage{"ingest 1": time.Second, "ingest 2": time.Second, partNATS: time.Second}}
	o.cores.Total, o.cores.Idle = 6*time.Second, time.Second
	o.peak = map[string]int64{"ingest 1": 5e6, "ingest 2": 7e6, partNATS: 9e6}
	if o.of(partIngest) != 1 || o.of(partNATS) != 0.5 || o.others() != 1 || o.memory(partIngest) != 7 {
		t.Errorf("ingest %v, NATS %v, others %v, memory %v", o.of(partIngest), o.of(partNATS), o.others(), o.memory(partIngest))
	}
}
