package esnode

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"hydrant/e2e/internal/proc"
)

// FolderVariable names the folder that releases were fetched into; the Makefile sets it.
const FolderVariable = "HYDRANT_TEST_SEARCH"

// A node that is not ready or has not ended by then is broken: on two busy cores either takes some seconds.
const patience = 2 * time.Minute

// Node is one node with its data, running until the test ends. Kill, Pause, Resume and the rest are those of its process.
type Node struct {
	*proc.Process
	Version Version
	URL     string // http://127.0.0.1:port, the same after a restart

	t testing.TB
}

// Options change how a node runs.
type Options struct {
	// Settings are added to the node's own and win over them, such as thread_pool.write.queue_size. Two that are set only
	// where a test asks for them make a node refuse: http.max_content_length with 413, and
	// rest.action.multi.allow_explicit_index: false a bulk request whose documents name their index.
	Settings map[string]string
	// Optimise has Java's second compiler work on what runs often. A node that lives for seconds is ready sooner and has
	// more of the processor without it; one whose speed is measured needs it.
	Optimise bool
}

// Start runs a node of a release and waits until it is ready.
//
// Where the release was not fetched, or there is no Java for it, the test is skipped, and fails where CI is set.
func Start(t testing.TB, v Version, options Options) *Node {
	t.Helper()
	home, java := installed(t, v)
	recipe, err := v.recipe()
	must(t, err)
	http, err := proc.FreePort()
	must(t, err)
	transport, err := proc.FreePort()
	must(t, err)
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "config"), 0o750))
	settings := defaults(home, dir, http, transport)
	maps.Copy(settings, options.Settings)
	n := &Node{Version: v, URL: fmt.Sprintf("http://127.0.0.1:%d", http), t: t}
	n.Process = proc.StartTest(t, proc.Spec{
		Name: string(v), Path: java.program("java"), LogFile: filepath.Join(dir, "log"),
		Args: slices.Concat(compiler(options.Optimise), arguments(home, recipe.launcher, dir, settings)),
	})
	must(t, n.AwaitReady(t.Context()))
	return n
}

// installed finds a release and the Java that runs it.
func installed(t testing.TB, v Version) (home string, java jdk) {
	t.Helper()
	dir := os.Getenv(FolderVariable)
	if dir == "" {
		missing(t, fmt.Sprintf("%s is not set: make test sets it", FolderVariable))
	}
	if !fetched(dir, v) {
		missing(t, fmt.Sprintf("%s is not in %s: make search-nodes fetches it", v, dir))
	}
	recipe, err := v.recipe()
	must(t, err)
	java, err = findJDK(recipe.java)
	if err != nil {
		missing(t, err.Error())
	}
	return filepath.Join(dir, string(v)), java
}

func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// defaults are the settings of a node that has no other to find, and that does not stop taking documents because the
// machine's disk is nearly full.
func defaults(home, dir string, http, transport int) map[string]string {
	return map[string]string{
		"cluster.name": "test", "node.name": "node-1", "discovery.type": "single-node",
		"network.host": "127.0.0.1", "http.port": fmt.Sprint(http), "transport.port": fmt.Sprint(transport),
		"path.home": filepath.Join(home, "home"), "path.data": filepath.Join(dir, "data"), "path.logs": filepath.Join(dir, "logs"),
		"cluster.routing.allocation.disk.threshold_enabled": "false",
	}
}

func compiler(optimise bool) []string {
	if optimise {
		return nil
	}
	return []string{"-XX:TieredStopAtLevel=1"}
}

func arguments(home, launcher, dir string, settings map[string]string) []string {
	args := []string{
		"-Xmx512m", "-XX:+UseSerialGC", "-Djava.io.tmpdir=" + dir,
		"-Dio.netty.noUnsafe=true", "-Dlog4j2.disable.jmx=true", "-Dlog4j.shutdownHookEnabled=false",
		"-cp", filepath.Join(home, classFolder) + string(os.PathListSeparator) + filepath.Join(home, libFolder, "*"),
		launcher, filepath.Join(dir, "config"),
	}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, name+"="+settings[name])
	}
	return args
}

// ReadyURL answers 200 when the node takes documents.
func (n *Node) ReadyURL() string { return n.URL + "/_cluster/health?wait_for_status=yellow&timeout=1s" }

// AwaitReady waits until the node takes documents and every index that it has is there.
func (n *Node) AwaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return n.WaitReady(ctx, n.ReadyURL())
}

// Stop ends the node as its owner would, with SIGTERM.
func (n *Node) Stop() {
	n.t.Helper()
	must(n.t, n.Terminate(patience))
}

// Restart starts the node again on the same data and ports, killing it first if it still runs, and waits until it is ready.
func (n *Node) Restart() {
	n.t.Helper()
	must(n.t, n.Process.Restart())
	must(n.t, n.AwaitReady(n.t.Context()))
}

// Client returns a client of the node.
func (n *Node) Client() *Client { return &Client{URL: n.URL, HTTP: newHTTP(n.t, nil)} }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
