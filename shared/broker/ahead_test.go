package broker

import (
	"testing"
	"time"
)

// What an answer took is no difference between clocks, however long.
func TestAhead(t *testing.T) {
	sent := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name             string
		took, said, want time.Duration
	}{
		{"the same clock", time.Second, time.Second / 2, 0},
		{"asked at once", time.Minute, 0, 0},
		{"answered at once", time.Minute, time.Minute, 0},
		{"ahead, and quick", time.Second, time.Minute, 59 * time.Second},
		{"ahead, and slow", time.Minute, 90 * time.Second, 30 * time.Second},
		{"behind", time.Minute, -20 * time.Second, -20 * time.Second},
	} {
		if got := ahead(sent.Add(c.said), sent, sent.Add(c.took)); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
