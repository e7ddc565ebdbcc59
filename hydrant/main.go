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

	"hydrant/hydrant/allinone"
	"hydrant/hydrant/internal/s3server"
	"hydrant/hydrant/logs"
	"hydrant/hydrant/metrics"
	"hydrant/hydrant/redrive"
	"hydrant/hydrant/replicas"
	"hydrant/hydrant/status"
	"hydrant/shared/service"
	"hydrant/shared/settings"
)

const description = `Hydrant is a self-hosted, Firehose-compatible delivery-stream service on NATS JetStream.

Every flag is also an environment variable: --data-dir is HYDRANT_DATA_DIR. "hydrant run" takes the other settings of the services in it (see hydrant-ingest --help and so on) from the environment.`

type commands struct {
	Run      runCommand       `cmd:"" help:"Run everything in one process: API, buffer, delivery to S3 and to Elasticsearch or OpenSearch, NATS and an S3 server."`
	Status   status.Command   `cmd:"" help:"Show what each delivery stream has buffered, pending, delivered, set aside and expired."`
	Logs     logs.Command     `cmd:"" help:"Show the error log of a delivery stream: what failed, why, and what to do."`
	Metrics  metrics.Command  `cmd:"" help:"Show the metrics of a delivery stream over time: what came, what was delivered, how fast."`
	Redrive  redrive.Command  `cmd:"" help:"Deliver anew what a destination did not take and was set aside in S3: load what error manifests name into Redshift, index failed documents again."`
	Replicas replicas.Command `cmd:"" help:"Show on how many NATS servers each stream is kept, or change it: hydrant replicas 3. Safe to repeat; services run on."`
	S3Server s3ServerCommand  `cmd:"" name:"s3-server" hidden:"" help:"The S3 server that run starts as a child process."`
	Version  kong.VersionFlag `name:"version" help:"Print the version and stop."`
}

type runCommand struct {
	Config allinone.Config   `embed:""`
	Log    service.LogConfig `embed:""`
}

// Run is called by the parser.
func (c *runCommand) Run(ctx context.Context, stdout io.Writer) error {
	c.Config.Banner = stdout
	return allinone.Run(ctx, c.Config, c.Log.Logger(os.Stderr))
}

type s3ServerCommand struct {
	Alone bool `help:"Do not end with standard input, which is how the child notices that its parent is gone."`
}

// Run is called by the parser.
func (c *s3ServerCommand) Run(ctx context.Context) error {
	cfg := s3server.ChildConfig(os.Getenv, os.Stdin)
	if c.Alone {
		cfg.Parent = nil
	}
	return s3server.Serve(ctx, cfg)
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
