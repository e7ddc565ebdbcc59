package pgserver_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"

	"hydrant/e2e/internal/pgserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What was committed is there after the server was killed, and what was not is not.
func TestKill(t *testing.T) {
	server := pgserver.Start(t)
	conn := connect(t, server)
	exec(t, conn, "CREATE TABLE kept (n int)")
	exec(t, conn, "INSERT INTO kept VALUES (1)")
	exec(t, conn, "BEGIN; INSERT INTO kept VALUES (2)")
	server.Kill()
	if err := conn.Ping(t.Context()); err == nil {
		t.Error("a server that was killed answers")
	}
	server.Restart()
	if got := exec(t, connect(t, server), "SELECT n FROM kept"); got != "1" {
		t.Errorf("the table has %q", got)
	}
}

func TestPause(t *testing.T) {
	server := pgserver.Start(t)
	conn := connect(t, server)
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() { answered <- conn.Exec(context.WithoutCancel(t.Context()), "SELECT 1").Close() }()
	select {
	case err := <-answered:
		t.Errorf("a paused server answers: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

func connect(t *testing.T, server *pgserver.Node) *pgconn.PgConn {
	t.Helper()
	conn, err := pgconn.Connect(t.Context(), server.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	})
	return conn
}

func exec(t *testing.T, conn *pgconn.PgConn, sql string) string {
	t.Helper()
	results, err := conn.Exec(t.Context(), sql).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(results) == 0 || len(results[0].Rows) == 0 {
		return ""
	}
	return string(results[0].Rows[0][0])
}
