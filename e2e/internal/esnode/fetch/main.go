// Command fetch brings the pinned releases of Elasticsearch and OpenSearch into a folder. It fails where one of them cannot
// be had, and says in a line what to install for it; the others are there then.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"hydrant/e2e/internal/esnode"
)

func main() {
	dir := flag.String("dir", "", "folder for the releases")
	flag.Parse()
	if *dir == "" {
		fmt.Fprintln(os.Stderr, "give -dir")
		os.Exit(2)
	}
	if !fetch(*dir) {
		os.Exit(1)
	}
}

// fetch says whether all could be had.
func fetch(dir string) bool {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	all, said := true, map[string]bool{}
	for _, version := range esnode.Versions() {
		if err := esnode.Fetch(ctx, dir, version, os.Stderr); err != nil {
			all = false
			say(err, said)
		}
	}
	return all
}

// say tells of an error, and of what is to be installed once, though several releases need it.
func say(err error, said map[string]bool) {
	text := err.Error()
	if missing := new(esnode.MissingError); errors.As(err, &missing) {
		text = missing.Error()
	}
	if !said[text] {
		fmt.Fprintln(os.Stderr, text)
	}
	said[text] = true
}
