package machine

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"
)

func TestParseCPU(t *testing.T) {
	const rest = " S 1 2 3 4 5 6 7 8 9 10 250 50 13 14 15 16 17 18 19 20 21 22"
	for _, c := range []struct {
		name string
		stat string
		want time.Duration
		err  error
	}{
		{"plain", "4242 (hydrant)" + rest, 3 * time.Second, nil},
		{"name with parentheses and spaces", "4242 (a) b (c)" + rest, 3 * time.Second, nil},
		{"no name", "4242 hydrant" + rest, 0, errProcForm},
		{"too short", "4242 (hydrant) S 1 2 3", 0, errProcForm},
		{"not a number", "4242 (hydrant) S 1 2 3 4 5 6 7 8 9 10 x 50 13 14 15 16 17 18 19 20 21 22", 0, errProcForm},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseCPU([]byte(c.stat))
			if got != c.want || !errors.Is(err, c.err) {
				t.Errorf("got %v, %v; want %v, %v", got, err, c.want, c.err)
			}
		})
	}
}

func TestParseResident(t *testing.T) {
	for _, c := range []struct {
		name   string
		status string
		want   int64
		err    error
	}{
		{"plain", "Name:\thydrant\nVmHWM:\t  900 kB\nVmRSS:\t  123 kB\nThreads:\t9\n", 123 << 10, nil},
		{"a zombie has none", "Name:\thydrant\n", 0, errProcForm},
		{"not a number", "VmRSS:\t many kB\n", 0, errProcForm},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseResident([]byte(c.status))
			if got != c.want || !errors.Is(err, c.err) {
				t.Errorf("got %v, %v; want %v, %v", got, err, c.want, c.err)
			}
		})
	}
}

// This process is one of which something is known.
func TestProc(t *testing.T) {
	if used, err := CPU(os.Getpid()); err != nil || used < 0 {
		t.Errorf("CPU is %v, %v", used, err)
	}
	if resident, err := Resident(os.Getpid()); err != nil || resident < 1<<20 {
		t.Errorf("%d bytes are resident, %v", resident, err)
	}
	if own, err := OwnCPU(); err != nil || own <= 0 {
		t.Errorf("own CPU is %v, %v", own, err)
	}
}

func TestChildren(t *testing.T) {
	child := exec.CommandContext(t.Context(), "cat")
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	children, err := Children(os.Getpid())
	if err != nil || !slices.Contains(children, child.Process.Pid) {
		t.Errorf("the children are %v, %v; want %d among them", children, err, child.Process.Pid)
	}
	_ = stdin.Close()
	if err := child.Wait(); err != nil {
		t.Error(err)
	}
}

func TestSampler(t *testing.T) {
	peak := Watch(context.Background(), map[string]int{"self": os.Getpid(), "nobody": 1 << 30}).Stop()
	if peak["self"] < 1<<20 {
		t.Errorf("the peak of this process is %d", peak["self"])
	}
	if _, found := peak["nobody"]; found {
		t.Error("a process that is not there has a peak")
	}
}

func TestDescribe(t *testing.T) {
	here := Describe()
	if here.CPUs < 1 || here.Memory < 1<<20 || here.Kernel == "" {
		t.Errorf("this machine is %+v", here)
	}
	other := here
	other.CPUs++
	if !here.Same(here) || here.Same(other) {
		t.Error("machines are told apart by their processors")
	}
}
