package esnode_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// recorder stands for a test that is expected to fail: it keeps what the test says.
type recorder struct {
	testing.TB
	failed, skipped bool
	said            string
	cleanups        []func()
}

// run runs a test to its end, with its cleanups.
func (r *recorder) run(test func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		test()
	}()
	<-ended
	for _, cleanup := range slices.Backward(r.cleanups) {
		cleanup()
	}
}

func (r *recorder) Helper()                 {}
func (r *recorder) Failed() bool            { return r.failed }
func (r *recorder) Cleanup(do func())       { r.cleanups = append(r.cleanups, do) }
func (r *recorder) say(what string)         { r.said += strings.TrimSpace(what) + "\n" }
func (r *recorder) Log(args ...any)         { r.say(fmt.Sprint(args...)) }
func (r *recorder) Logf(f string, a ...any) { r.say(fmt.Sprintf(f, a...)) }

func (r *recorder) Fatal(args ...any) {
	r.say(fmt.Sprint(args...))
	r.failed = true
	runtime.Goexit()
}

func (r *recorder) Skip(args ...any) {
	r.say(fmt.Sprint(args...))
	r.skipped = true
	runtime.Goexit()
}
