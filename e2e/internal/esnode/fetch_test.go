package esnode

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeTools puts a JDK and a Maven that leave a note of each run, and do the least of what theirs do, where they are found.
func fakeTools(t *testing.T, release, maven string) (runs string) {
	t.Helper()
	dir := t.TempDir()
	runs = filepath.Join(dir, "runs")
	write(t, filepath.Join(dir, "jdk", "release"), "IMPLEMENTOR=\"nobody\"\nJAVA_VERSION=\""+release+"\"\n", 0o600)
	write(t, filepath.Join(dir, "jdk", "bin", "javac"), "#!/bin/sh\necho javac >> "+runs+"\nmkdir classes\n", 0o700)
	write(t, filepath.Join(dir, "bin", "mvn"), "#!/bin/sh\necho mvn >> "+runs+"\n"+maven+"\n", 0o700)
	t.Setenv("JAVA_HOME", filepath.Join(dir, "jdk"))
	t.Setenv("PATH", filepath.Join(dir, "bin")+":/usr/bin:/bin")
	return runs
}

func write(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

const jars = "mkdir lib; touch lib/server-1.jar lib/netty-1.jar lib/transport-netty4-1.jar"

// A release is fetched once, whoever asks for it, and again when it would be made of something else.
func TestFetchOnce(t *testing.T) {
	runs, dir := fakeTools(t, "17.0.1", jars), t.TempDir()
	done := make(chan error)
	for range 4 {
		go func() { done <- Fetch(t.Context(), dir, Elasticsearch8, io.Discard) }()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if got := read(t, runs); strings.Count(got, "mvn\n") != 1 {
		t.Errorf("four at once ran %q", got)
	}
	write(t, filepath.Join(dir, string(Elasticsearch8), recipeFile), "of another make", 0o600)
	if err := Fetch(t.Context(), dir, Elasticsearch8, io.Discard); err != nil {
		t.Fatal(err)
	}
	if got := read(t, runs); strings.Count(got, "mvn\n") != 2 {
		t.Errorf("after a change, in all, %q were run", got)
	}
}

// What the HTTP server needs is its module's, and not on the class path.
func TestFetchMakesTheModule(t *testing.T) {
	fakeTools(t, "17.0.1", jars)
	dir := t.TempDir()
	if err := Fetch(t.Context(), dir, Elasticsearch8, io.Discard); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"lib/server-1.jar": true, "lib/netty-1.jar": false,
		moduleFolder + "/netty-1.jar": true, moduleFolder + "/transport-netty4-1.jar": true,
	} {
		if _, err := os.Stat(filepath.Join(dir, string(Elasticsearch8), name)); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	descriptor := read(t, filepath.Join(dir, string(Elasticsearch8), moduleFolder, "plugin-descriptor.properties"))
	if !strings.Contains(descriptor, "\nelasticsearch.version=8.19.21\njava.version=17\n") {
		t.Errorf("the module's descriptor:\n%s", descriptor)
	}
	if text := read(t, filepath.Join(dir, string(Elasticsearch8), "pom.xml")); strings.Count(text, "<version>8.19.21</version>") != 2 {
		t.Errorf("the POM:\n%s", text)
	}
}

// A fetch that fails, or is killed, half way leaves nothing that is taken for a release, and the next makes it whole.
func TestFetchHalfWay(t *testing.T) {
	dir := t.TempDir()
	fakeTools(t, "17.0.1", jars+"; echo no network >&2; exit 1")
	var log strings.Builder
	if err := Fetch(t.Context(), dir, Elasticsearch8, &log); err == nil || !strings.Contains(log.String(), "no network") {
		t.Errorf("it failed with %v and said %q", err, log.String())
	}
	if fetched(dir, Elasticsearch8) {
		t.Error("what was fetched half is taken for a release")
	}
	write(t, filepath.Join(dir, string(Elasticsearch8)+".partial", libFolder, "older-1.jar"), "", 0o600)
	fakeTools(t, "17.0.1", jars)
	if err := Fetch(t.Context(), dir, Elasticsearch8, io.Discard); err != nil || !fetched(dir, Elasticsearch8) {
		t.Errorf("the next fetch: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, string(Elasticsearch8), libFolder, "older-1.jar")); err == nil {
		t.Error("what was left of the first is in the second")
	}
}

// Whoever waits for another's fetch can be stopped.
func TestFetchGivesUpWaiting(t *testing.T) {
	dir := t.TempDir()
	unlock, err := lock(t.Context(), filepath.Join(dir, string(Elasticsearch8)+".lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Fetch(ctx, dir, Elasticsearch8, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}

func TestFetchWithoutMaven(t *testing.T) {
	fakeTools(t, "17.0.1", jars)
	t.Setenv("PATH", t.TempDir())
	var missing *MissingError
	if err := Fetch(t.Context(), t.TempDir(), Elasticsearch8, io.Discard); !errors.As(err, &missing) || !strings.Contains(err.Error(), "apt-get install maven") {
		t.Errorf("it ended with %v", err)
	}
}

// There is a Java that is new enough, or it is said which one to install.
func TestFindJDK(t *testing.T) {
	fakeTools(t, "99-ea", jars)
	if java, err := findJDK(99); err != nil || java.release != 99 || java.home != os.Getenv("JAVA_HOME") {
		t.Errorf("found %+v, %v", java, err)
	}
	fakeTools(t, "98.0.1", jars)
	var missing *MissingError
	if _, err := findJDK(99); !errors.As(err, &missing) || !strings.Contains(err.Error(), "a JDK 99 or newer: apt-get install openjdk-21-jdk-headless") {
		t.Errorf("ended with %v", err)
	}
}

func TestJavaRelease(t *testing.T) {
	for version, want := range map[string]int{`"17.0.15"`: 17, `"25"`: 25, "21-ea": 21, `"1.8.0_422"`: 1} {
		if got, err := javaRelease(version); err != nil || got != want {
			t.Errorf("%s is %d, %v; want %d", version, got, err, want)
		}
	}
	if _, err := javaRelease("none"); err == nil {
		t.Error("a release that is no number is taken")
	}
}

func TestVersionThatIsNone(t *testing.T) {
	if err := Fetch(t.Context(), t.TempDir(), "elasticsearch-6.8.0", io.Discard); err == nil {
		t.Error("a release that is not pinned is fetched")
	}
}
