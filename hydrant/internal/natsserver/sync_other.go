//go:build !linux

package natsserver

import (
	"os"
	"syscall"
)

// syncVolume begins to write everything to disk that is in any file system; other systems than Linux do not say when it is there.
func syncVolume(*os.File) error { return syscall.Sync() }
