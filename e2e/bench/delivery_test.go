package main

import (
	"math"
	"testing"
	"time"
)

// deliveries are of 100 MB each, two at a time, every two seconds.
func deliveries(began time.Time, count int) []event {
	var events []event
	for n := range count {
		at := began.Add(time.Duration(2*(n/2+1))*time.Second + time.Duration(n%2)*time.Millisecond)
		events = append(events, event{at: at, bytes: 100e6})
	}
	return events
}

func TestDeliveryRate(t *testing.T) {
	began := time.Now()
	for _, c := range []struct {
		name   string
		events []event
		length time.Duration
		want   float64
		fails  bool
	}{
		{"in pairs, of 100 MB/s", deliveries(began, 20), time.Minute, 100, false},
		{"what comes after the puts is not counted", append(deliveries(began, 20), event{at: began.Add(time.Hour), bytes: 9e9}), time.Minute, 100, false},
		{"too few", deliveries(began, 20), 3 * time.Second, 0, true},
		{"none", nil, time.Minute, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := deliveryRate(c.events, began, began.Add(c.length))
			if math.Abs(got-c.want) > 2 || (err != nil) != c.fails {
				t.Errorf("got %v MB/s, %v; want %v", got, err, c.want)
			}
		})
	}
}

func TestGrowthOfTheBacklog(t *testing.T) {
	var d delivered
	for second, mb := range []int64{900, 100, 120, 140, 160, 180} {
		d.undelivered = append(d.undelivered, sample{float64(second), mb * 1e6})
	}
	if got := d.growth(); math.Abs(got-20) > 0.1 {
		t.Errorf("it grows by %v MB/s, want 20: the beginning does not count", got)
	}
	if got := d.mostUndelivered(); got != 900 {
		t.Errorf("%v MB were undelivered at most", got)
	}
	if got := d.series(); got != "900 100 120 140 160 180" {
		t.Errorf("the series is %s", got)
	}
}
