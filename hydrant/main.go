// Command hydrant runs a whole Hydrant installation in one process, and has the tools to look at any installation.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"hydrant/hydrant/logs"
	"hydrant/hydrant/metrics"
	"hydrant/hydrant/redrive"
	"hydrant/hydrant/replicas"
	"hydrant/hydrant/status"
	"hydrant/shared/settings"
)

const description = `Hydrant is a self-hosted, Firehose-compatible delivery-stream service on NATS JetStream.

Every flag is also an environment variable: --nats-url is HYDRANT_NATS_URL.` + ofServers

// commands are the tools, and where they are not built out, the servers.
type commands struct {
	servers `embed:""`

	Status   status.Command   `cmd:"" help:"Show what each delivery stream has buffered, pending, delivered, set aside and expired."`
	Logs     logs.Command     `cmd:"" help:"Show the error log of a delivery stream: what failed, why, and what to do."`
	Metrics  metrics.Command  `cmd:"" help:"Show the metrics of a delivery stream over time: what came, what was delivered, how fast."`
	Redrive  redrive.Command  `cmd:"" help:"Deliver anew what a destination did not take and was set aside in S3: load what error manifests name into Redshift, index failed documents again."`
	Replicas replicas.Command `cmd:"" help:"Show on how many NATS servers each stream is kept, or change it: hydrant replicas 3. Safe to repeat; services run on."`
	Version  kong.VersionFlag `name:"version" help:"Print the version and stop."`
}

func main() { os.Exit(run(os.Args[1:])) }

// run returns the exit status: 0 after a clean end, 1 after a failure, 2 for wrong arguments.
func run(args []string) int {
	var c commands
	parser, err := settings.Parser("hydrant", description, &c, os.Stdout, os.Stderr, os.Exit)
	if err != nil {
		fmt.Fprintln(os.Stderr, "hydrant:", err)
		return 2
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	command, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "hydrant:", settings.Explain(err))
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	command.BindTo(ctx, (*context.Context)(nil))
	command.BindTo(os.Stdout, (*io.Writer)(nil))
	if err := command.Run(); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "hydrant:", err)
		return 1
	}
	return 0
}
