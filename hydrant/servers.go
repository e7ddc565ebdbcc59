//go:build !toolsonly

package main

import (
	"context"
	"io"
	"os"

	"hydrant/hydrant/allinone"
	"hydrant/hydrant/internal/s3server"
	"hydrant/shared/service"
)

const ofServers = ` "hydrant run" takes the other settings of the services in it (see hydrant-ingest --help and so on) from the environment.`

// servers are what a program has that can be a whole installation.
type servers struct {
	Run      runCommand      `cmd:"" help:"Run everything in one process: API, buffer, delivery to S3 and to Elasticsearch or OpenSearch, NATS and an S3 server."`
	S3Server s3ServerCommand `cmd:"" name:"s3-server" hidden:"" help:"The S3 server that run starts as a child process."`
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
