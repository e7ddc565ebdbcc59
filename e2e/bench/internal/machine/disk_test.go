package machine

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestInMemory(t *testing.T) {
	for _, c := range []struct {
		name string
		kind int64
		want bool
	}{{"tmpfs", 0x01021994, true}, {"ramfs", 0x858458f6, true}, {"ext4", 0xef53, false}} {
		if got := inMemory(c.kind); got != c.want {
			t.Errorf("%s: %t, want %t", c.name, got, c.want)
		}
	}
}

func TestSyncedWrites(t *testing.T) {
	dir := t.TempDir()
	got, err := SyncedWrites(t.Context(), dir, 4096, 2, 50*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Latencies) == 0 || got.Rate <= 0 || got.MBps <= 0 || !slices.IsSorted(got.Latencies) {
		t.Errorf("got %d writes, %v a second, %v MB/s", len(got.Latencies), got.Rate, got.MBps)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("%d files are left", len(left))
	}
}

func TestUsedBytes(t *testing.T) {
	dir := t.TempDir()
	before := UsedBytes(dir)
	if err := os.WriteFile(filepath.Join(dir, "file"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Flush(dir); err != nil {
		t.Fatal(err)
	}
	if got := UsedBytes(dir) - before; got < 1<<20 {
		t.Errorf("a file of 1 MiB takes %d bytes", got)
	}
}
