package natsserver

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/nats-io/nats-server/v2/server"
)

// minStoreBytes is the least that a store can be expected to work with when its size is taken from the volume.
const minStoreBytes = 64 << 20

// storeLock is the right to use a store directory. The kernel drops it when the process ends in whatever way, so nobody has
// to clean up after a crash. Go opens files close-on-exec, so a child process does not inherit it.
type storeLock struct{ file *os.File }

// lockStore takes the lock of a store directory, or fails at once when someone else has it.
func lockStore(dir string) (*storeLock, error) {
	f, err := os.OpenFile(filepath.Join(dir, "nats.lock"), os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("open the lock file of the store: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer func() { _ = f.Close() }()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		return nil, fmt.Errorf("the store directory %s is in use by another NATS server (process %s); two on one store would destroy it: %w",
			dir, holder(f), err)
	}
	if err := writeHolder(f); err != nil {
		return nil, errors.Join(fmt.Errorf("write %s: %w", f.Name(), err), f.Close())
	}
	return &storeLock{file: f}, nil
}

// release gives the directory free. The file stays: removing it would let two processes lock two files of the same name.
func (l *storeLock) release() error { return l.file.Close() }

// writeHolder leaves the process id in the lock file, for the error message of whoever comes second.
func writeHolder(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt(fmt.Appendln(nil, os.Getpid()), 0)
	return err
}

func holder(f *os.File) string {
	b, err := io.ReadAll(io.LimitReader(f, 32))
	if pid := strings.TrimSpace(string(b)); err == nil && pid != "" {
		return pid
	}
	return "unknown"
}

// defaultStoreBytes is 75 % of what the volume of dir has free and dir already uses together. A limit below the volume's size
// leaves room for what other programs write: a volume without space breaks a JetStream stream for good, and a full store
// only refuses new messages.
func defaultStoreBytes(dir string) (int64, error) {
	var volume syscall.Statfs_t
	if err := syscall.Statfs(dir, &volume); err != nil {
		return 0, fmt.Errorf("read the free space of the volume of %s: %w", dir, err)
	}
	used, err := usedBytes(dir)
	if err != nil {
		return 0, fmt.Errorf("read the size of the store: %w", err)
	}
	free := int64(volume.Bavail) * int64(volume.Bsize) //nolint:unconvert // The types differ between systems.
	limit := (free + used) / 4 * 3
	if limit < minStoreBytes {
		return 0, fmt.Errorf("the volume of %s has %d bytes free: too few for a store; make room or set the store's size", dir, free)
	}
	return limit, nil
}

// usedBytes is the space that the files below dir occupy, in the blocks that the volume's free space is counted in.
func usedBytes(dir string) (int64, error) {
	var total int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			total += st.Blocks * 512
		}
		return nil
	})
	return total, err
}

// syncStore writes to disk what an earlier run left in the file system's hands. A process that was killed between a write and its sync, or
// whose sync failed, acknowledged none of it; but what is in a file is recovered as stored, and acknowledged when it is put again.
func syncStore(dir string) error {
	root, err := os.Open(dir) // #nosec G304 -- the store's own
	if err != nil {
		return err
	}
	if err := syncVolume(root); err != nil {
		return errors.Join(fmt.Errorf("sync the volume of %s: %w", dir, err), root.Close())
	}
	return root.Close()
}

// unrecovered names the streams on disk that hold messages and that the running server does not know. A stream without
// messages is not missed: a crash while it was made leaves such a folder, and nothing in it was ever acknowledged.
func unrecovered(ns *server.Server, storeDir string) ([]string, error) {
	account := ns.GlobalAccount().GetName()
	dir := filepath.Join(storeDir, server.JetStreamStoreDir, account, "streams")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the streams on disk: %w", err)
	}
	known, err := runningStreams(ns, account)
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, e := range entries {
		// A leading dot marks a stream that is being deleted.
		if known[e.Name()] || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		full, err := holdsMessages(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		if full {
			missing = append(missing, e.Name())
		}
	}
	return missing, nil
}

// runningStreams are the streams that the server has up.
func runningStreams(ns *server.Server, account string) (map[string]bool, error) {
	detail, err := ns.JszAccount(&server.JSzOptions{Account: account, Streams: true})
	if err != nil {
		return nil, fmt.Errorf("ask the server for its streams: %w", err)
	}
	known := make(map[string]bool, len(detail.Streams))
	for _, s := range detail.Streams {
		known[s.Name] = true
	}
	return known, nil
}

// holdsMessages tells whether a stream's folder has a message block that is not empty.
func holdsMessages(streamDir string) (bool, error) {
	blocks, err := filepath.Glob(filepath.Join(streamDir, "msgs", "*.blk"))
	if err != nil {
		return false, fmt.Errorf("list the message blocks of %s: %w", streamDir, err)
	}
	for _, b := range blocks {
		info, err := os.Stat(b)
		if err != nil {
			return false, fmt.Errorf("look at a message block: %w", err)
		}
		if info.Size() > 0 {
			return true, nil
		}
	}
	return false, nil
}
