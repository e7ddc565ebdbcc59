package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"hydrant/shared/pgtest"
	"hydrant/shared/proc"
)

// programVariable makes the test binary the program itself.
const programVariable = "HYDRANT_TEST_STANDIN_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(programVariable) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// runs runs the program to its end.
func runs(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errors bytes.Buffer
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), programVariable+"=1")
	cmd.Stdout, cmd.Stderr = &out, &errors
	_ = cmd.Run()
	return out.String(), errors.String(), cmd.ProcessState.ExitCode()
}

func TestHelp(t *testing.T) {
	out, _, code := runs(t, "--help")
	if code != 0 || !strings.Contains(out, "--s3-endpoint") || !strings.Contains(out, "$HYDRANT_UPSTREAM") {
		t.Errorf("it ends with %d and says\n%s", code, out)
	}
}

func TestWrongSettings(t *testing.T) {
	for flag, want := range map[string]string{
		"--listen=5439": "--listen (HYDRANT_LISTEN)", "--tls-cert=x": "--tls-key (HYDRANT_TLS_KEY)", "--listen=192.0.2.1:1": "--listen (HYDRANT_LISTEN)",
		"--log-level=loud": "HYDRANT_LOG_LEVEL", "--nonsense": "--nonsense",
	} {
		if _, errors, code := runs(t, flag); code != 1 || !strings.Contains(errors, want) {
			t.Errorf("%s: it ends with %d and says\n%s", flag, code, errors)
		}
	}
}

// The program serves until it is told to end, and ends well.
func TestServes(t *testing.T) {
	node := pgtest.Start(t)
	t.Run("upstream", func(t *testing.T) {
		serves(t, "HYDRANT_UPSTREAM="+node.Addr, "HYDRANT_ADMIN_PASSWORD="+pgtest.Password)
	})
	t.Run("PostgreSQL of its own", func(t *testing.T) { serves(t, "HYDRANT_WITH_POSTGRES=true") })
}

func serves(t *testing.T, settings ...string) {
	t.Helper()
	port, err := proc.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	program := proc.StartTest(t, proc.Spec{
		Name: "redshift-standin", Path: os.Args[0], LogFile: filepath.Join(t.TempDir(), "log"),
		Env: append(settings, programVariable+"=1", "HYDRANT_LISTEN="+addr),
	})
	conn := connect(t, program, addr)
	if _, err := conn.Exec(t.Context(), "SELECT count(*) FROM stl_load_errors").ReadAll(); err != nil {
		t.Error(err)
	}
	if err := program.Terminate(20 * time.Second); err != nil {
		t.Error(err)
	}
}

func connect(t *testing.T, program *proc.Process, addr string) *pgconn.PgConn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgconn.Connect(ctx, pgtest.URL(addr, pgtest.User, pgtest.Password, "postgres"))
		if err == nil {
			return conn
		}
		select {
		case <-tick.C:
		case <-program.Exited():
			t.Fatal("it has ended")
		case <-ctx.Done():
			t.Fatal(err)
		}
	}
}
