//go:build faults

package faultpoint_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"hydrant/shared/faultpoint"
)

// childEnv makes the test binary a process that passes marks.
const childEnv = "FAULTPOINT_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		for _, point := range []string{"a", "b", "c"} {
			faultpoint.Hit(point)
			_, _ = fmt.Fprintln(os.Stdout, "passed", point)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child returns a process that is to be started, and what it will have written.
func child(path string) (*exec.Cmd, *strings.Builder) {
	out := new(strings.Builder)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=1", "HYDRANT_FAULTPOINT="+path, "GORACE=atexit_sleep_ms=0")
	cmd.Stdout = out
	return cmd, out
}

func arm(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fault")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestKill(t *testing.T) {
	for _, c := range []struct{ name, content, passed string }{
		{"at the first mark", "a kill", ""},
		{"in the middle", "b kill\n", "passed a\n"},
		{"at the last mark", "c kill", "passed a\npassed b\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := arm(t, c.content)
			cmd, out := child(path)
			err := cmd.Run()
			status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
			if err == nil || !status.Signaled() || status.Signal() != syscall.SIGKILL {
				t.Errorf("it ended with %v", err)
			}
			if out.String() != c.passed {
				t.Errorf("it wrote %q, want %q", out, c.passed)
			}
			if _, err := os.Stat(path); !os.IsNotExist(err) {
				t.Errorf("the mark is still armed: %v", err)
			}
			// The next process is not hit.
			cmd, out = child(path)
			if err := cmd.Run(); err != nil || out.String() != "passed a\npassed b\npassed c\n" {
				t.Errorf("the next process ended with %v and wrote %q", err, out)
			}
		})
	}
}

func TestStop(t *testing.T) {
	cmd, out := child(arm(t, "b stop"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var status syscall.WaitStatus
	for {
		_, err := syscall.Wait4(cmd.Process.Pid, &status, syscall.WUNTRACED, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || !status.Stopped() || status.StopSignal() != syscall.SIGSTOP {
			t.Fatalf("it did not stop: %v, %v", status, err)
		}
		break
	}
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || out.String() != "passed a\npassed b\npassed c\n" {
		t.Errorf("it ended with %v and wrote %q", err, out)
	}
}

func TestNotArmed(t *testing.T) {
	for _, c := range []struct{ name, path string }{
		{"no file is named", ""},
		{"the file is not there", filepath.Join(t.TempDir(), "absent")},
		{"another mark", arm(t, "another kill")},
		{"an empty file", arm(t, "")},
		{"a part of a name", arm(t, "aa kill")},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd, out := child(c.path)
			if err := cmd.Run(); err != nil || out.String() != "passed a\npassed b\npassed c\n" {
				t.Errorf("it ended with %v and wrote %q", err, out)
			}
		})
	}
}

// Of several processes that pass the mark one is hit.
func TestOneOfMany(t *testing.T) {
	path := arm(t, "b kill")
	var children []*exec.Cmd
	for range 8 {
		cmd, _ := child(path)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		children = append(children, cmd)
	}
	killed := 0
	for _, cmd := range children {
		if cmd.Wait() != nil {
			killed++
		}
	}
	if killed != 1 {
		t.Errorf("%d processes were killed", killed)
	}
}
