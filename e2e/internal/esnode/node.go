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

	"hydrant/shared/proc"
)

// FolderVariable names the folder that releases were fetched into; the Makefile sets it.
const FolderVariable = "HYDRANT_TEST_SEARCH"

// A node that is not ready or has not ended by then is broken: on two busy cores either takes some seconds.
const patience = 2 * time.Minute

// Server is one node with its data. Kill, Pause, Resume and the rest are those of its process.
type Server struct {
	*proc.Process
	Version Version
	URL     string // http://127.0.0.1:port, the same after a restart
}

// Node is a server that runs until its test ends.
type Node struct {
	*Server

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
	home, java, err := installed(v)
	if err != nil {
		missing(t, err.Error())
	}
	server, spec, err := prepare(home, java, t.TempDir(), v, options)
	must(t, err)
	server.Process = proc.StartTest(t, spec)
	must(t, server.AwaitReady(t.Context()))
	return &Node{server, t}
}

// Run is Start for a program: the node keeps what it has in a folder, which is there, and runs until the program kills it
// or ends. Where the release was not fetched, or there is no Java for it, the error says what to do.
func Run(ctx context.Context, dir string, v Version, options Options) (*Server, error) {
	home, java, err := installed(v)
	if err != nil {
		return nil, err
	}
	server, spec, err := prepare(home, java, dir, v, options)
	if err != nil {
		return nil, err
	}
	if server.Process, err = proc.Start(spec); err != nil {
		return nil, err
	}
	if err := server.AwaitReady(ctx); err != nil {
		server.Kill()
		return nil, fmt.Errorf("%w; its log ends with: %s", err, server.LogTail(1000))
	}
	return server, nil
}

// prepare chooses ports for a node, and says how to run it.
func prepare(home string, java jdk, dir string, v Version, options Options) (*Server, proc.Spec, error) {
	recipe, err := v.recipe()
	if err != nil {
		return nil, proc.Spec{}, err
	}
	http, err := proc.FreePort()
	if err != nil {
		return nil, proc.Spec{}, err
	}
	transport, err := proc.FreePort()
	if err != nil {
		return nil, proc.Spec{}, err
	}
	if err := os.Mkdir(filepath.Join(dir, "config"), 0o750); err != nil {
		return nil, proc.Spec{}, err
	}
	settings := defaults(home, dir, http, transport)
	maps.Copy(settings, options.Settings)
	return &Server{Version: v, URL: fmt.Sprintf("http://127.0.0.1:%d", http)}, proc.Spec{
		Name: string(v), Path: java.program("java"), LogFile: filepath.Join(dir, "log"),
		Args: slices.Concat(compiler(options.Optimise), arguments(home, recipe.launcher, dir, settings)),
	}, nil
}

// installed finds a release and the Java that runs it.
func installed(v Version) (home string, java jdk, err error) {
	recipe, err := v.recipe()
	if err != nil {
		return "", jdk{}, err
	}
	dir := os.Getenv(FolderVariable)
	if dir == "" {
		return "", jdk{}, fmt.Errorf("%s is not set: make sets it", FolderVariable)
	}
	if !fetched(dir, v) {
		return "", jdk{}, fmt.Errorf("%s is not in %s: make search-nodes fetches it", v, dir)
	}
	java, err = findJDK(recipe.java)
	return filepath.Join(dir, string(v)), java, err
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
func (s *Server) ReadyURL() string {
	return s.URL + "/_cluster/health?wait_for_status=yellow&timeout=1s"
}

// AwaitReady waits until the node takes documents and every index that it has is there.
func (s *Server) AwaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return s.WaitReady(ctx, s.ReadyURL())
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
