// Package settings fills a service's Config from flags and environment variables of the same names: --nats-url is
// HYDRANT_NATS_URL. A field tagged `secret:""` is also read from the file that HYDRANT_<NAME>_FILE names, and is never
// shown. A Config that has a Validate method is checked by it.
package settings

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"
)

// Version is what --version prints; the build sets it.
var Version = "development"

// Parser returns a parser of a program's settings, or of its sub-commands'. cfg points to a struct with kong's tags.
func Parser(program, description string, cfg any, stdout, stderr io.Writer, exit func(int)) (*kong.Kong, error) {
	return kong.New(cfg,
		kong.Name(program),
		kong.Description(description),
		kong.PostBuild(nameVariables),
		kong.Resolvers(kong.ResolverFunc(secretFile)),
		kong.Writers(stdout, stderr),
		kong.Exit(exit),
		kong.Vars{"version": Version},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
	)
}

// nameVariables gives every flag, of sub-commands too, its environment variable. It stands in for kong.DefaultEnvars,
// which makes --s3-endpoint HYDRANT_S_3_ENDPOINT, and lets a HYDRANT_VERSION that somebody set for an image's tag print the
// version and stop the program, as a HYDRANT_HEALTH would.
func nameVariables(k *kong.Kong) error {
	return kong.Visit(k.Model, func(node kong.Visitable, next kong.Next) error {
		flag, ok := node.(*kong.Flag)
		if ok && !asks(flag.Name) && len(flag.Envs) == 0 {
			flag.Envs = []string{Variable(flag.Name)}
			flag.Tag.Envs = flag.Envs
		}
		return next(nil)
	})
}

// asks tells the flags that are a question and no setting: the program answers and stops.
func asks(flag string) bool { return flag == "help" || flag == "version" || flag == "health" }

// Explain makes a parser's error name both forms of the setting.
func Explain(err error) error {
	text, found := strings.CutPrefix(err.Error(), "--")
	end := strings.IndexAny(text, "= :(")
	if !found || end < 1 || strings.HasPrefix(text[end:], " (") {
		return err // not about a setting, or explained already
	}
	flag, rest := text[:end], text[end:]
	switch before, after, colon := strings.Cut(rest, ": "); {
	case strings.HasPrefix(rest, " must be "):
		rest = strings.TrimPrefix(rest, " ")
	case colon && !strings.Contains(before, " "):
		rest = after
	default:
		return err
	}
	return fmt.Errorf("--%s (%s): %s", flag, Variable(flag), rest)
}

// Variable is the environment variable of a flag.
func Variable(flag string) string {
	return "HYDRANT_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// secretFile resolves a secret from the file that its _FILE variable names. One line break at the end is the editor's.
func secretFile(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if !flag.Tag.Has("secret") {
		return nil, nil
	}
	variable := Variable(flag.Name)
	path := os.Getenv(variable + "_FILE")
	if path == "" {
		return nil, nil
	}
	if os.Getenv(variable) != "" {
		return nil, fmt.Errorf("%s and %s_FILE are both set: use one", variable, variable)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s_FILE: %w", variable, err)
	}
	return strings.TrimRight(string(data), "\r\n"), nil
}

// FromEnvironment fills cfg from its defaults and the environment alone, and validates it: for a program that runs a
// service whose settings are not its own flags.
func FromEnvironment(cfg any) error {
	parser, err := Parser("hydrant", "", cfg, io.Discard, io.Discard, func(int) {})
	if err != nil {
		return err
	}
	if _, err := parser.Parse(nil); err != nil {
		return Explain(err)
	}
	return nil
}
