package e2e

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// Why a test does not run against compose.
const (
	toSearchNode   = "delivers to a search node on this machine's loopback, which containers do not reach: e2e/compose does so under load"
	toWarehouse    = "delivers to a PostgreSQL on this machine's loopback, which containers do not reach: e2e/compose does so under load"
	killsServers   = "ends, stops or cuts off NATS servers of a cluster and asks the others, which compose.cluster.yaml does not publish: see TestComposeCluster and TestComposeIntoCluster of e2e/compose"
	stopsServer    = "stops the NATS server with SIGSTOP, and asks it from outside"
	noInstallation = "starts no installation"
)

// leftOut are the tests that do not run against compose, each with the reason. Any other has to.
func leftOut() map[string]string {
	return map[string]string{
		"TestSearchReleases":             toSearchNode,
		"TestSearchSecured":              toSearchNode,
		"TestSearchInTrouble":            toSearchNode,
		"TestSearchUnderStrain":          toSearchNode,
		"TestSearchWhileKilled":          toSearchNode,
		"TestSearchDataStream":           toSearchNode,
		"TestSearchWithoutExplicitIndex": toSearchNode,
		"TestRedshift":                   toWarehouse,
		"TestRedrive":                    toWarehouse,
		"TestCluster":                    killsServers,
		"TestIntoCluster":                killsServers,
		"TestServersAsleep":              killsServers,
		"TestClocksApart":                killsServers,
		"TestToolsAskOn":                 stopsServer,
		"TestContainsFinds":              noInstallation,
		"TestLeftOut":                    noInstallation,
	}
}

// leaveOut has none of them run. The flag is that of go test -skip.
func leaveOut() error {
	skipped := []string{}
	for _, name := range slices.Sorted(maps.Keys(leftOut())) {
		skipped = append(skipped, "^"+name+"$")
	}
	skip := flag.Lookup("test.skip")
	if own := skip.Value.String(); own != "" {
		skipped = append(skipped, own)
	}
	return skip.Value.Set(strings.Join(skipped, "|"))
}

// TestLeftOut makes sure that what is left out is there.
func TestLeftOut(t *testing.T) {
	there := map[string]bool{}
	entries, err := os.ReadDir(".")
	must(t, err)
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), entry.Name(), nil, parser.SkipObjectResolution)
		must(t, err)
		for _, declared := range file.Decls {
			if function, ok := declared.(*ast.FuncDecl); ok {
				there[function.Name.Name] = true
			}
		}
	}
	for name := range leftOut() {
		if !there[name] {
			t.Errorf("%s is left out, and is no test", name)
		}
	}
}
