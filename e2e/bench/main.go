// Command bench measures how fast Hydrant is, by ratios: what it is compared with is measured in the same run, on the same
// disk and cores, alternately. docs/performance.md says what each row is and how it is measured.
//
// It builds the programs, starts them as processes on a directory of the disk, puts records by HTTP, and looks at what
// arrives in the S3 server. The load generator runs on the same cores and is part of every figure. Everything listens on
// 127.0.0.1 alone and is gone when it ends.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

type options struct {
	rows     string
	list     bool
	rounds   int
	length   time.Duration
	dir      string
	results  string
	jsonForm bool
	markdown bool
	bento    string
}

func main() { os.Exit(status(os.Args[1:])) }

// status returns the exit status: 0 when every row was measured, however slow, 1 when one was not, 2 for wrong arguments.
func status(args []string) int {
	o, err := parse(args, os.Stderr)
	if err != nil {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

func parse(args []string, out io.Writer) (options, error) {
	root, err := repository()
	if err != nil {
		_, _ = fmt.Fprintln(out, "bench:", err)
		return options{}, err
	}
	cache := filepath.Join(root, ".cache")
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.StringVar(&o.rows, "rows", "", "rows to measure, separated by commas; \"scaling\" for those of docs/scaling.md (default all others)")
	flags.BoolVar(&o.list, "list", false, "list the rows and end")
	flags.IntVar(&o.rounds, "rounds", 5, "how often what is compared alternates")
	flags.DurationVar(&o.length, "length", 3*time.Second, "length of one load; one with delivery is four times as long")
	flags.StringVar(&o.dir, "dir", cache, "directory on the disk to measure on")
	flags.StringVar(&o.results, "results", filepath.Join(cache, "bench.json"), "file with the newest results of each row, to compare with")
	flags.BoolVar(&o.jsonForm, "json", false, "print the results as JSON instead of the table")
	flags.BoolVar(&o.markdown, "markdown", false, "print the results as tables of a document")
	flags.StringVar(&o.bento, "bento", "", "the program built from e2e/bench/bento, for the row cpu")
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	err = o.validate(flags.Args())
	if err != nil {
		_, _ = fmt.Fprintln(out, "bench:", err)
	}
	return o, err
}

func (o options) validate(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("%q is not accepted; name rows with -rows", strings.Join(rest, " "))
	case o.rounds < 1 || o.rounds > 100:
		return fmt.Errorf("-rounds %d is not accepted; use 1 to 100", o.rounds)
	case o.length < 100*time.Millisecond || o.length > time.Minute:
		return fmt.Errorf("-length %s is not accepted; use 100ms to 1m", o.length)
	}
	_, err := chosen(o.rows)
	return err
}

var errNoRepository = errors.New("run it inside the repository: no go.work was found in this directory or above it")

// repository is the root of the working copy that this runs in.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errNoRepository
		}
	}
}
