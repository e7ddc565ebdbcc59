package natsserver

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncVolume writes everything to disk that is in the file system of an open file, and returns when it is there.
func syncVolume(file *os.File) error { return unix.Syncfs(int(file.Fd())) }
