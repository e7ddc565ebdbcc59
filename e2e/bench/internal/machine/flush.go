package machine

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Flush writes back everything of dir's file system that is in memory alone, and returns when it is on the disk. The S3
// server does not sync, so without it one load's objects are written during the next.
func Flush(dir string) error {
	file, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	if err := unix.Syncfs(int(file.Fd())); err != nil {
		return fmt.Errorf("flush the file system of %s: %w", dir, err)
	}
	return nil
}
