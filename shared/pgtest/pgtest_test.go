package pgtest

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hydrant/shared/natstest"
)

// roleVariable makes the test binary a process that has a server, and is killed.
const roleVariable = "HYDRANT_TEST_PGTEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		if err := play(role); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3) //nolint:forbidigo // Here the test binary is the child process, and this its main.
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// play runs a server, tells its folder and the ids of its processes, and never ends by itself.
func play(role string) error {
	server, _, err := Run(context.Background(), "fsync=off")
	if err != nil {
		return err
	}
	if role == "paused" {
		if err := server.Pause(); err != nil {
			return err
		}
	}
	fmt.Fprintln(os.Stdout, server.dir, server.process.PID(), strings.Trim(fmt.Sprint(childrenOf(server.process.PID())), "[]"))
	select {}
}

// Nothing is left of a server whose test was killed, and nobody waits for its output.
func TestEndsWithTheProcess(t *testing.T) {
	if _, err := find(); err != nil {
		Missing(t, err)
	}
	for _, role := range []string{"running", "paused"} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), roleVariable+"="+role)
			cmd.Stderr = t.Output()
			out, err := cmd.StdoutPipe()
			must(t, err)
			must(t, cmd.Start())
			var dir string
			var pids [16]int
			n, _ := fmt.Fscanln(out, &dir, &pids[0], &pids[1], &pids[2], &pids[3], &pids[4], &pids[5], &pids[6])
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			if n < 3 {
				t.Fatalf("it told of %d things", n)
			}
			must(t, cmd.Process.Signal(syscall.SIGKILL))
			_, err = io.ReadAll(out)
			must(t, err)
			_ = cmd.Wait()
			awaitGone(pids[:n-1])
		})
	}
}

// What was committed is there after the server was killed, and what was not is not.
func TestKill(t *testing.T) {
	t.Parallel()
	server := Start(t)
	query(t, server, "CREATE TABLE kept (n int)")
	query(t, server, "INSERT INTO kept VALUES (1)")
	asked := ask(server, "BEGIN; INSERT INTO kept VALUES (2); SELECT pg_sleep(600)")
	natstest.WaitFor(t, "the transaction is open", func() bool {
		return query(t, server, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == "1"
	})
	server.Kill()
	if a := <-asked; a.err == nil {
		t.Error("a server that was killed answers")
	}
	server.Restart()
	if got := query(t, server, "SELECT n FROM kept"); got != "1" {
		t.Errorf("the table has %q", got)
	}
}

func TestPause(t *testing.T) {
	t.Parallel()
	server := Start(t, "fsync=off")
	must(t, server.Pause())
	asked := ask(server, "SELECT 1")
	select {
	case a := <-asked:
		t.Errorf("a paused server answers: %v", a)
	case <-time.After(100 * time.Millisecond):
	}
	must(t, server.Resume())
	if a := <-asked; a.err != nil {
		t.Error(a)
	}
}

// A server that is paused is killed and started again like any other.
func TestKillPaused(t *testing.T) {
	t.Parallel()
	server := Start(t, "fsync=off")
	must(t, server.Pause())
	must(t, server.Pause())
	server.Restart()
	if got := query(t, server, "SHOW fsync"); got != "off" {
		t.Errorf("fsync is %q", got)
	}
}

// A server that does not start says why.
func TestFails(t *testing.T) {
	t.Parallel()
	if _, err := find(); err != nil {
		Missing(t, err)
	}
	_, _, err := Run(t.Context(), "nonsense=1")
	if err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("got %v", err)
	}
}

type answer struct {
	text string
	err  error
}

// ask has psql run SQL in a session of its own.
func ask(server *Node, sql string) <-chan answer {
	answered := make(chan answer, 1)
	psql := exec.Command(filepath.Join(server.programs, "psql"), "--no-psqlrc", "--tuples-only", "--no-align", "--command", sql, server.URL("postgres"))
	go func() {
		out, err := psql.CombinedOutput()
		answered <- answer{strings.TrimSpace(string(out)), err}
	}()
	return answered
}

func query(t *testing.T, server *Node, sql string) string {
	t.Helper()
	a := <-ask(server, sql)
	if a.err != nil {
		t.Fatalf("%s: %v: %s", sql, a.err, a.text)
	}
	return a.text
}
