package redshiftstandin_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lib/pq"

	"hydrant/e2e/internal/redshiftstandin"
	"hydrant/shared/pgtest"
	"hydrant/shared/proc"
	"hydrant/shared/s3test"
)

// code is the SQLSTATE of an error, empty for another error.
func code(err error) string {
	var failure *pq.Error
	if errors.As(err, &failure) {
		return string(failure.Code)
	}
	return ""
}

// holds stalls the reading of object k, until the test ends or the function it returns is called.
func (r *rig) holds() (reached <-chan struct{}, release func()) {
	held, released := make(chan struct{}, 1), make(chan struct{})
	heal := r.s3.FailAt("GetObject", "/k", -1, s3test.Hold(false, held, released))
	var done bool
	release = func() {
		if !done {
			done = true
			heal()
			close(released)
		}
	}
	r.t.Cleanup(release)
	return held, release
}

// child runs statements in another process.
func (r *rig) child(statements ...string) *proc.Process {
	r.t.Helper()
	return proc.StartTest(r.t, proc.Spec{
		Name: "client", Path: os.Args[0], Args: []string{pgtest.URL(r.addr, pgtest.User, pgtest.Password, r.name)},
		Env: []string{sqlVariable + "=" + strings.Join(statements, "\n")}, LogFile: filepath.Join(r.t.TempDir(), "log"),
	})
}

// idleAgain waits until no transaction is open.
func (r *rig) idleAgain() {
	r.t.Helper()
	eventually(r.t, "all transactions have ended", func() bool {
		return r.query("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL AND pid <> pg_backend_pid()") == "0"
	})
}

// The stand-in dies while a COPY runs: the client gets an error, and nothing is loaded.
func TestStandInIsKilled(t *testing.T) {
	r := start(t)
	r.exec("CREATE TABLE t (a int)")
	r.put("a", "0\n")
	r.put("k", "1\n")
	r.manifest("m", "s3://data/a", "s3://data/k")
	port, err := proc.FreePort()
	r.must(err)
	config := r.config()
	config.Listen = fmt.Sprintf("127.0.0.1:%d", port)
	text, err := json.Marshal(config)
	r.must(err)
	victim := proc.StartTest(t, proc.Spec{
		Name: "stand-in", Path: os.Args[0], Env: []string{serverVariable + "=" + string(text)}, LogFile: filepath.Join(t.TempDir(), "log"),
	})
	other := r.of(t)
	other.addr = config.Listen
	other.db = other.connect(pgtest.User, pgtest.Password, r.name)
	eventually(t, "the other stand-in is there", func() bool { return other.db.PingContext(t.Context()) == nil })
	load := "BEGIN; INSERT INTO t VALUES (5); " + copied("t", "m", "MANIFEST") + "; COMMIT"
	reached, release := r.holds()
	done := make(chan error, 1)
	go func() {
		_, err := other.db.ExecContext(t.Context(), load)
		done <- err
	}()
	<-reached
	victim.Kill()
	if err := <-done; err == nil {
		t.Error("a load succeeded without a stand-in")
	}
	r.idleAgain()
	release()
	r.want("SELECT count(*) FROM t", "0")
	r.must(victim.Restart())
	eventually(t, "it is loaded after a restart", func() bool {
		_, err := other.db.ExecContext(t.Context(), load)
		return err == nil
	})
	r.want("SELECT count(*) FROM t", "3")
}

// A client that dies while its COPY runs has loaded nothing.
func TestClientIsKilled(t *testing.T) {
	r := start(t)
	r.exec("CREATE TABLE t (a int)")
	r.put("a", "0\n")
	r.put("k", "1\n")
	r.manifest("m", "s3://data/a", "s3://data/k")
	load := copied("t", "m", "MANIFEST")
	for name, statements := range map[string][]string{"in one string": {"BEGIN; " + load + "; COMMIT"}, "alone": {load}, "in three": {"BEGIN", load, "COMMIT"}} {
		t.Run(name, func(t *testing.T) {
			r := r.of(t)
			reached, release := r.holds()
			client := r.child(statements...)
			<-reached
			client.Kill()
			r.idleAgain()
			release()
			r.want("SELECT count(*) FROM t", "0")
			r.exec(load)
			r.want("SELECT count(*) FROM t", "2")
			r.exec("TRUNCATE t")
		})
	}
}

// A server need not notice that its client is gone: then the load is done, and nobody heard of it.
func TestClientIsKilledAndNobodyNotices(t *testing.T) {
	r := start(t, func(c *redshiftstandin.Config) { c.FinishWithoutClient = true })
	r.exec("CREATE TABLE t (a int)")
	r.put("k", "1\n")
	reached, release := r.holds()
	client := r.child("BEGIN; " + copied("t", "k", "") + "; INSERT INTO t VALUES (2); COMMIT")
	<-reached
	client.Kill()
	// The request that is held is answered with a broken connection, which the SDK repeats.
	release()
	eventually(t, "it is loaded", func() bool { return r.query("SELECT count(*) FROM t") == "2" })
}

// A stopped client holds the lock until it goes on, or dies.
func TestClientIsStopped(t *testing.T) {
	r := start(t)
	r.exec("CREATE TABLE ledger (batch varchar(20)); CREATE TABLE t (a int)")
	client := r.child("BEGIN; LOCK ledger; INSERT INTO ledger VALUES ('b1')")
	locks := func() string {
		return r.query("SELECT count(*) FROM pg_locks WHERE relation = 'ledger'::regclass AND granted AND mode = 'AccessExclusiveLock'")
	}
	eventually(t, "the client has the lock", func() bool { return locks() == "1" })
	r.must(client.Pause())
	ctx, cancel := context.WithCancel(t.Context())
	waiting := make(chan error, 1)
	conn := r.conn()
	go func() {
		_, err := conn.ExecContext(ctx, "BEGIN; LOCK ledger; SELECT count(*) FROM ledger; COMMIT")
		waiting <- err
	}()
	eventually(t, "another waits for it", func() bool {
		return r.query("SELECT count(*) FROM pg_locks WHERE relation = 'ledger'::regclass AND NOT granted") == "1"
	})
	// Who waits can be cancelled, as by a deadline of its own.
	cancel()
	if err := <-waiting; code(err) != "57014" && !errors.Is(err, context.Canceled) {
		t.Errorf("the one who waited: %v", err)
	}
	r.must(client.Resume())
	if got := locks(); got != "1" {
		t.Errorf("a client that goes on has %s locks", got)
	}
	client.Kill()
	eventually(t, "a dead client has no lock", func() bool { return locks() == "0" })
	r.want("SELECT count(*) FROM ledger", "0")
}

// A COPY can be cancelled while the stand-in waits for S3.
func TestCancel(t *testing.T) {
	r := start(t)
	r.exec("CREATE TABLE t (a int)")
	r.put("k", "1\n")
	reached, release := r.holds()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := r.db.ExecContext(ctx, copied("t", "k", ""))
		done <- err
	}()
	<-reached
	cancel()
	if err := <-done; code(err) != "57014" && !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	r.idleAgain()
	release()
	r.want("SELECT count(*) FROM t", "0")
}

// PostgreSQL dies while a COPY runs: the client gets an error, and nothing is loaded.
func TestServerIsKilled(t *testing.T) {
	r, node := startAlone(t)
	r.exec("CREATE TABLE t (a int)")
	r.put("a", "0\n")
	r.put("k", "1\n")
	r.manifest("m", "s3://data/a", "s3://data/k")
	load := "BEGIN; " + copied("t", "m", "MANIFEST") + "; COMMIT"
	reached, release := r.holds()
	done := make(chan error, 1)
	go func() {
		_, err := r.db.ExecContext(t.Context(), load)
		done <- err
	}()
	<-reached
	node.Kill()
	if err := <-done; err == nil {
		t.Error("a load succeeded without a server")
	}
	if err := r.db.PingContext(t.Context()); code(err) != "08006" {
		t.Errorf("without a server: %v", err)
	}
	node.Restart()
	release()
	r.want("SELECT count(*) FROM t", "0")
	r.exec(load)
	r.want("SELECT count(*) FROM t", "2")
}

// The stand-in ends in the middle of a COPY: after its farewell the load is undone. One that only waits for clients ends at once.
func TestShutdown(t *testing.T) {
	r := start(t)
	r.exec("CREATE TABLE t (a int)")
	r.put("k", "1\n")
	idle := r.conn()
	reached, release := r.holds()
	done := make(chan error, 1)
	go func() {
		_, err := r.db.ExecContext(t.Context(), copied("t", "k", ""))
		done <- err
	}()
	<-reached
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	eventually(t, "a client that does nothing is told", func() bool { return idle.PingContext(t.Context()) != nil })
	// What is under way may end.
	release()
	if err := <-done; err != nil {
		t.Errorf("the load: %v", err)
	}
	r.must(<-stopped)
	r.serve()
	r.want("SELECT count(*) FROM t", "1")
}

func TestTLS(t *testing.T) {
	cert, key := certificate(t)
	r := start(t, func(c *redshiftstandin.Config) { c.TLSCert, c.TLSKey = cert, key })
	for mode, want := range map[string]string{"require": "", "verify-full&sslrootcert=" + cert: "", "disable": ""} {
		if err := ping(t, r, mode); (err == nil) != (want == "") {
			t.Errorf("%s: %v", mode, err)
		}
	}
	r.serve(func(c *redshiftstandin.Config) { c.TLSCert, c.TLSKey = "", "" })
	if err := ping(t, r, "require"); !errors.Is(err, pq.ErrSSLNotSupported) {
		t.Errorf("without a certificate: %v", err)
	}
}

func ping(t *testing.T, r *rig, mode string) error {
	t.Helper()
	url := strings.Replace(pgtest.URL(r.addr, pgtest.User, pgtest.Password, r.name), "sslmode=disable", "sslmode="+mode, 1)
	db, err := sql.Open("postgres", url)
	r.must(err)
	defer func() { _ = db.Close() }()
	return db.PingContext(t.Context())
}

// certificate makes one for 127.0.0.1, in files.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redshift stand-in"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	check(err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	check(err)
	cert, key = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	check(os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	check(os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
	return cert, key
}

// Settings that make no sense are refused by their names.
func TestConfig(t *testing.T) {
	good := redshiftstandin.Config{Listen: "127.0.0.1:0", Upstream: "127.0.0.1:1"}
	for want, change := range map[string]func(*redshiftstandin.Config){
		"--listen (HYDRANT_LISTEN)":                     func(c *redshiftstandin.Config) { c.Listen = "5439" },
		"--upstream (HYDRANT_UPSTREAM)":                 func(c *redshiftstandin.Config) { c.Upstream = "db" },
		"--tls-key (HYDRANT_TLS_KEY)":                   func(c *redshiftstandin.Config) { c.TLSCert = "cert" },
		"--s3-access-key-id (HYDRANT_S3_ACCESS_KEY_ID)": func(c *redshiftstandin.Config) { c.S3.SecretAccessKey = "secret-thing" },
	} {
		config := good
		change(&config)
		if err := config.Validate(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret-thing") {
			t.Errorf("%s: %v", want, err)
		}
	}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
}
