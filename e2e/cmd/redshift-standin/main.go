// Command redshift-standin stands in for Amazon Redshift, in front of a PostgreSQL, so that the delivery of streams to Redshift
// can be tried where there is none. It is not Redshift: e2e/internal/redshiftstandin/DESIGN.md says what it imitates.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"hydrant/e2e/internal/redshiftstandin"
	"hydrant/shared/settings"
)

// command is the program's settings.
type command struct {
	redshiftstandin.Config `embed:""`

	LogLevel string           `name:"log-level" enum:"debug,info,warn,error" default:"info" help:"Level: ${enum}."`
	Version  kong.VersionFlag `name:"version" help:"Print the version and stop."`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "redshift-standin:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	var cmd command
	parser, err := settings.Parser("redshift-standin", "Stands in for Amazon Redshift in tests and trials: "+
		"a PostgreSQL behind, COPY from S3 and Redshift's ways in front.", &cmd, os.Stdout, os.Stderr, os.Exit)
	if err != nil {
		return err
	}
	if _, err := parser.Parse(args); err != nil {
		return settings.Explain(err)
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(cmd.LogLevel)); err != nil {
		return err
	}
	server, err := redshiftstandin.New(cmd.Config, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})))
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return server.Run(ctx)
}
