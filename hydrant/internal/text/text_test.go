package text

import (
	"strings"
	"testing"
	"time"
)

func TestUnits(t *testing.T) {
	const kb, mb = 1 << 10, 1 << 20
	tests := []struct{ name, got, want string }{
		{"no bytes", Size(0), "0 B"},
		{"bytes", Size(1023), "1023 B"},
		{"a kilobyte", Size(kb), "1.00 KB"},
		{"two digits", Size(12*kb + kb/2), "12.5 KB"},
		{"three digits", Size(345 * kb), "345 KB"},
		{"nearly ten", Size(10*kb - 1), "10.0 KB"},
		{"nearly a hundred", Size(100*kb - 1), "100 KB"},
		{"nearly a megabyte", Size(mb - 1), "1024 KB"},
		{"megabytes", Size(128 * mb), "128 MB"},
		{"no records", Count(0), "0"},
		{"plain", Count(99_999), "99999"},
		{"thousands", Count(100_000), "100k"},
		{"millions", Count(1_234_567), "1.23M"},
		{"no time", Duration(0), "0s"},
		{"seconds", Duration(59*time.Second + 999*time.Millisecond), "59s"},
		{"minutes", Duration(5*time.Minute + 2*time.Second), "5m02s"},
		{"hours", Duration(23*time.Hour + 59*time.Minute), "23h59m"},
		{"days", Duration(74 * time.Hour), "3d02h"},
		{"short enough", Shorten("orders", 6), "orders"},
		{"too long", Shorten("orders-europe-1", 9), "orde…pe-1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.got != test.want {
				t.Errorf("got %q, want %q", test.got, test.want)
			}
		})
	}
}

func TestWrapped(t *testing.T) {
	got := Wrapped("one two\nthree\x1b[31m "+strings.Repeat("x", 30)+" four", 12)
	want := "one two\n    three[31m\n    " + strings.Repeat("x", 30) + "\n    four"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
