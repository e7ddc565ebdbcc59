// Command redshift-standin stands in for Amazon Redshift, in front of a PostgreSQL, so that the delivery of streams to Redshift
// can be tried where there is none. It is not Redshift: e2e/internal/redshiftstandin/DESIGN.md says what it imitates.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"hydrant/e2e/internal/redshiftstandin"
	"hydrant/shared/pgtest"
	"hydrant/shared/settings"
)

// command is the program's settings.
type command struct {
	redshiftstandin.Config `embed:""`

	WithPostgres bool `name:"with-postgres" help:"Start a PostgreSQL of its own, in place of --upstream, for as long as this runs. Nothing in it is kept. Its user is postgres, with the password postgres-secret."`

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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	if cmd.WithPostgres {
		return withPostgres(ctx, cmd.Config, log)
	}
	return serve(ctx, cmd.Config, log)
}

func serve(ctx context.Context, cfg redshiftstandin.Config, log *slog.Logger) error {
	server, err := redshiftstandin.New(cfg, log)
	if err != nil {
		return err
	}
	return server.Run(ctx)
}

// withPostgres serves before a PostgreSQL that is made for it, and deleted in the end.
func withPostgres(ctx context.Context, cfg redshiftstandin.Config, log *slog.Logger) (err error) {
	postgres, remove, err := pgtest.Run(ctx)
	if err != nil {
		return err
	}
	defer func() {
		postgres.Kill()
		err = errors.Join(err, remove())
	}()
	cfg.Upstream, cfg.Admin = postgres.Addr, redshiftstandin.Admin{User: pgtest.User, Password: pgtest.Password}
	log.Info("a PostgreSQL of its own was started", "user", pgtest.User)
	return serve(ctx, cfg, log)
}
