//go:build linux

// Package volume is test support: a file system of its own, of which a test can cut the power, and which it can fill.
//
// The file system is in an image file behind a loop device, so it takes Linux, root, and mkfs of its kind. Cut stops it in the
// middle of whatever it does, as its own ioctl for such tests has it, without writing its journal out. After Mount there is what
// was synced before, what the kernel happened to write by itself, and no more: the journal is replayed, as after a power failure.
//
// What is not shown: that the disk keeps what it says that it has flushed. The image is in the page cache of the machine, so
// whatever the file system gave to its device is still there, flushed or not, and in the order in which it came.
package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hydrant/shared/proc"
)

// Kind is a kind of file system.
type Kind string

// The kinds of file systems. XFS has to have 300 MiB at least.
const (
	Ext4 Kind = "ext4"
	XFS  Kind = "xfs"
)

// Volume is a file system, mounted at Dir. Its methods end the test when they fail, so they are for the test's own goroutine.
type Volume struct {
	Dir string

	t     testing.TB
	image string
}

// New makes an empty file system and mounts it at dir, a folder of the test's own, until the test ends. Where that cannot be done
// the test is skipped, or fails in CI.
func New(t testing.TB, kind Kind, mebibytes int64, dir string) *Volume {
	t.Helper()
	v := &Volume{Dir: dir, t: t, image: filepath.Join(t.TempDir(), "image")}
	must(t, os.MkdirAll(dir, 0o750))
	unmounted := unmountedWithTest(t, v)
	if err := v.make(kind, mebibytes<<20); err != nil {
		unmounted()
		missing(t, fmt.Sprintf("no %s can be made and mounted here (as root on Linux, with loop devices and mkfs.%s, it can): %v", kind, kind, err))
	}
	t.Cleanup(unmounted)
	return v
}

func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

func (v *Volume) make(kind Kind, size int64) error {
	image, err := os.Create(v.image)
	if err != nil {
		return err
	}
	if err := errors.Join(image.Truncate(size), image.Close()); err != nil {
		return err
	}
	options := map[Kind][]string{Ext4: {"-m", "0"}} // nothing kept back for root, who runs the tests
	if _, err := run("mkfs."+string(kind), append(options[kind], "-q", v.image)...); err != nil {
		return err
	}
	return v.mount()
}

// The loop device is gone with the mount, whoever ends that.
func (v *Volume) mount() error {
	_, err := run("mount", "-o", "loop", v.image, v.Dir)
	return err
}

// Mount mounts it anew, as a machine does that has power again.
func (v *Volume) Mount() {
	v.t.Helper()
	_, err := run("umount", v.Dir)
	must(v.t, err)
	v.awaitGone()
	must(v.t, v.mount())
}

// awaitGone waits until the kernel has let go of the file system: a container that is just being started may hold a copy of the mount, and
// what is mounted until then is the one without power.
func (v *Volume) awaitGone() {
	v.t.Helper()
	deadline := time.Now().Add(time.Minute)
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		devices, err := run("losetup", "--associated", v.image)
		must(v.t, err)
		if devices == "" {
			return
		}
		if time.Now().After(deadline) {
			v.t.Fatalf("after a minute somebody still holds %s", devices)
		}
		<-ticker.C
	}
}

// Sync writes everything to the disk.
func (v *Volume) Sync() {
	v.t.Helper()
	root, err := os.Open(v.Dir)
	must(v.t, err)
	must(v.t, errors.Join(unix.Syncfs(int(root.Fd())), root.Close()))
}

// Free is how many bytes there is room for.
func (v *Volume) Free() int64 {
	v.t.Helper()
	var volume unix.Statfs_t
	must(v.t, unix.Statfs(v.Dir, &volume))
	return int64(volume.Bavail) * volume.Bsize
}

// Fill leaves room for so many bytes, by a file; the function it returns removes that.
func (v *Volume) Fill(but int64) (empty func()) {
	v.t.Helper()
	name := filepath.Join(v.Dir, "filling")
	file, err := os.Create(name)
	must(v.t, err)
	var size int64
	for piece := v.Free() - but; piece >= blockSize; piece = min(piece, v.Free()-but) {
		err := unix.Fallocate(int(file.Fd()), 0, size, piece)
		if errors.Is(err, unix.ENOSPC) { // it needs some blocks for itself
			piece /= 2
			continue
		}
		must(v.t, err)
		size += piece
	}
	must(v.t, file.Close())
	return func() { must(v.t, os.Remove(name)) }
}

const blockSize = 4096

// shutdown is EXT4_IOC_SHUTDOWN, and the same of XFS and others: _IOR('X', 125, __u32). What it is given says that nothing is flushed.
const (
	shutdown   = 0x8004587d
	noLogFlush = 2
)

func (v *Volume) cut() error {
	root, err := os.Open(v.Dir)
	if err != nil {
		return err
	}
	return errors.Join(unix.IoctlSetPointerInt(int(root.Fd()), shutdown, noLogFlush), root.Close())
}

// Cut takes the power from processes and from what they have their data on, in one moment, and returns when the processes are gone.
// None of them lives to see that its disk does not answer: what a process does then is not what a power failure shows.
func Cut(t testing.TB, processes []*proc.Process, volumes ...*Volume) {
	t.Helper()
	for _, p := range processes {
		must(t, p.Strike())
	}
	for _, v := range volumes {
		must(t, v.cut())
	}
	for _, p := range processes {
		p.Kill()
	}
}

// unmountedWithTest starts a shell that takes the volume away when it is told to, or when the test's process is gone: one that is killed, or
// ended by go test's timeout, runs no cleanup. The function it returns has it done.
func unmountedWithTest(t testing.TB, v *Volume) (unmounted func()) {
	t.Helper()
	// What holds a file of it open has been killed, and may need a moment to be gone, so it is unmounted lazily.
	const script = `read -r _; if mountpoint -q "$1"; then umount -l "$1"; fi; rm -f "$2"`
	shell := exec.CommandContext(context.Background(), "sh", "-c", script, "unmount", v.Dir, v.image) // #nosec G204 -- the test's own folders
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}                                           // what is sent to the test's process group is not for it
	said := new(strings.Builder)
	shell.Stdout, shell.Stderr = said, said
	input, err := shell.StdinPipe()
	must(t, err)
	must(t, shell.Start())
	return func() {
		err := errors.Join(input.Close(), shell.Wait())
		if err != nil || said.Len() > 0 {
			t.Errorf("unmount %s: %v %s", v.Dir, err, said)
		}
		if _, err := os.Stat(v.image); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", v.image, err)
		}
	}
}

func run(program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	said, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w %s", program, err, strings.TrimSpace(string(said)))
	}
	return string(said), nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
