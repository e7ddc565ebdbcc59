//go:build linux

package volume_test

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"hydrant/e2e/internal/deploy"
	"hydrant/e2e/internal/volume"
)

// heldVariable has TestHeld hold a volume until it is killed.
const heldVariable = "HYDRANT_TEST_VOLUME_HELD"

// TestCut has what was synced, and only that, there after a cut.
func TestCut(t *testing.T) {
	v := volume.New(t, volume.Ext4, 64, filepath.Join(t.TempDir(), "disk"))
	write(t, v, "synced", true)
	write(t, v, "not synced", false)
	volume.Cut(t, nil, v)
	if err := os.WriteFile(filepath.Join(v.Dir, "late"), nil, 0o600); !errors.Is(err, syscall.EIO) {
		t.Errorf("a file is written without power: %v", err)
	}
	v.Mount()
	if got, err := os.ReadFile(filepath.Join(v.Dir, "synced")); err != nil || string(got) != "synced" {
		t.Errorf("what was synced is %q, %v", got, err)
	}
	if got, err := os.ReadFile(filepath.Join(v.Dir, "not synced")); len(got) > 0 {
		t.Errorf("what was not synced is %q, %v", got, err)
	}
}

func write(t *testing.T, v *volume.Volume, what string, sync bool) {
	t.Helper()
	file, err := os.Create(filepath.Join(v.Dir, what))
	must(t, err)
	_, err = file.WriteString(what)
	must(t, err)
	if sync {
		must(t, file.Sync())
	}
	must(t, file.Close())
}

func TestFill(t *testing.T) {
	v := volume.New(t, volume.Ext4, 64, filepath.Join(t.TempDir(), "disk"))
	empty := v.Fill(0)
	if err := os.WriteFile(filepath.Join(v.Dir, "more"), make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a full volume takes more: %v", err)
	}
	empty()
	must(t, os.WriteFile(filepath.Join(v.Dir, "more"), make([]byte, 1<<20), 0o600))
}

// TestHeld is the process that TestGoneWithItsProcess kills.
func TestHeld(t *testing.T) {
	if os.Getenv(heldVariable) == "" {
		return
	}
	v := volume.New(t, volume.Ext4, 64, filepath.Join(t.TempDir(), "disk"))
	open, err := os.Create(filepath.Join(v.Dir, "open"))
	must(t, err)
	fmt.Fprintln(os.Stdout, "mounted", v.Dir)
	<-t.Context().Done()
	must(t, open.Close())
}

// TestGoneWithItsProcess kills a test that has a volume: neither the mount nor the image is left.
func TestGoneWithItsProcess(t *testing.T) {
	dir := t.TempDir()
	volume.New(t, volume.Ext4, 64, filepath.Join(dir, "here")) // or the test is skipped here
	command := exec.Command(os.Args[0], "-test.run=^TestHeld$")
	command.Env = append(os.Environ(), heldVariable+"=1", "TMPDIR="+dir)
	out, err := command.StdoutPipe()
	must(t, err)
	must(t, command.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	held, ok := strings.CutPrefix(strings.TrimSpace(line), "mounted ")
	if !ok || !mounted(t, held) {
		t.Errorf("it says %q", line)
	}
	must(t, command.Process.Kill())
	_ = command.Wait() // killed
	deploy.Eventually(t, "the mount is gone", func() bool { return !mounted(t, held) })
	deploy.Eventually(t, "the images are gone", func() bool {
		left, err := filepath.Glob(filepath.Join(dir, "TestHeld*", "*", "image"))
		must(t, err)
		return len(left) == 0
	})
	if _, err := os.Stat(held); errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder is gone too, so that this shows nothing: %v", err)
	}
}

func mounted(t *testing.T, dir string) bool {
	t.Helper()
	mounts, err := os.ReadFile("/proc/mounts")
	must(t, err)
	return strings.Contains(string(mounts), " "+dir+" ")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
