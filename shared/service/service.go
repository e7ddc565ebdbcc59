// Package service is the skeleton that every service shares: settings, logging, an admin port, and an orderly end.
package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"hydrant/shared/format"
	"hydrant/shared/settings"
)

// Service runs until its context ends, and returns after everything it started has ended.
type Service interface {
	Run(ctx context.Context) error
	// Ready returns what keeps the service from doing its work now, or nil.
	Ready() error
}

// LogConfig says how to log.
type LogConfig struct {
	LogLevel  string `name:"log-level" enum:"debug,info,warn,error" default:"info" help:"Least severe level that is logged: ${enum}."`
	LogFormat string `name:"log-format" enum:"text,json" default:"text" help:"Form of the log: ${enum}."`
}

// Logger returns the logger that c describes, writing to w.
func (c LogConfig) Logger(w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.LogLevel)) // one of the enum, or info
	options := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// Runtime is what a process gives to the services in it.
type Runtime struct {
	Log     *slog.Logger
	Metrics prometheus.Registerer
	Refused *format.Refused // what the services leave alone because a newer version wrote it; may be nil
}

// program is what Main parses: a service's settings and those of the process around it.
type program[C any] struct {
	Service   C                `embed:""`
	Log       LogConfig        `embed:""`
	AdminAddr string           `name:"admin-addr" default:"127.0.0.1:0" help:"Address of /healthz, /readyz and /metrics. Port 0 takes a free one, which is logged."`
	Health    bool             `name:"health" help:"Ask the service that runs at --admin-addr whether it is ready, and stop: with exit status 0 if it is, 1 if not."`
	Version   kong.VersionFlag `name:"version" help:"Print the version and stop."`
}

// Main runs one service as a program of its own, and returns the process's exit status: 0 after SIGTERM or SIGINT, 1 when
// the service failed, 2 for wrong settings. With --health it only asks a service that runs already.
func Main[C any](name, description string, build func(C, Runtime) (Service, error)) int {
	var p program[C]
	parser, err := settings.Parser(name, description, &p, os.Stdout, os.Stderr, os.Exit) //nolint:forbidigo // --help ends the process
	if err == nil {
		_, err = parser.Parse(os.Args[1:])
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, settings.Explain(err))
		return 2
	}
	if p.Health {
		return health(name, p.AdminAddr)
	}
	log := p.Log.Logger(os.Stderr).With("service", name)
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	refused := new(format.Refused)
	s, err := build(p.Service, Runtime{Log: log, Metrics: registry, Refused: refused})
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := runWithAdmin(ctx, s, p.AdminAddr, registry, refused, log); err != nil {
		log.Error("stopped", "error", err)
		return 1
	}
	log.Info("stopped")
	return 0
}

// health is what the program does with --health. It returns the exit status.
func health(name, addr string) int {
	answer, err := AskHealth(context.Background(), addr)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return 1
	}
	_, _ = fmt.Fprintln(os.Stdout, answer)
	return 0
}

// runWithAdmin runs the service beside its admin server. Either's failure ends the other.
func runWithAdmin(ctx context.Context, s Service, addr string, registry *prometheus.Registry, refused *format.Refused, log *slog.Logger) error {
	admin, err := NewAdmin(addr, registry, s.Ready, refused, log)
	if err != nil {
		return err
	}
	return RunAll(ctx, admin.Run, func(ctx context.Context) error {
		err := s.Run(ctx)
		if err == nil && ctx.Err() == nil {
			return errors.New("the service ended by itself") // its admin port alone would look like a service
		}
		return err
	})
}

// RunAll runs each part in a goroutine of its own until ctx ends or one part returns an error, then ends the others and
// waits for them. That a part is cancelled with the others is not a failure. A part that ends without an error leaves the
// others running.
func RunAll(ctx context.Context, parts ...func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan error, len(parts))
	for _, part := range parts {
		go func() { results <- part(ctx) }()
	}
	var failures []error
	for range parts {
		err := <-results
		if err != nil && (ctx.Err() == nil || !errors.Is(err, context.Canceled)) {
			failures = append(failures, err)
			cancel()
		}
	}
	return errors.Join(failures...)
}
