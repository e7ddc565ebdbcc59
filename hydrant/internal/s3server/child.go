package s3server

import (
	"io"
	"slices"
	"strconv"
)

// ChildArg is the argument of the hidden sub-command that runs the child: the supervisor starts the program with it, and the
// program answers it with Serve(ctx, ChildConfig(os.Getenv, os.Stdin)) under a context that ends on SIGTERM.
const ChildArg = "s3-server"

// The supervisor hands the configuration over in these environment variables, and never in arguments: those of a process can
// be read by every user of the machine, the environment only by its own.
const (
	envAddr      = "HYDRANT_S3_CHILD_ADDR"
	envDir       = "HYDRANT_S3_CHILD_DIR"
	envAccessKey = "HYDRANT_S3_CHILD_ACCESS_KEY"
	envSecretKey = "HYDRANT_S3_CHILD_SECRET_KEY"
	envRegion    = "HYDRANT_S3_CHILD_REGION"
	envDebug     = "HYDRANT_S3_CHILD_DEBUG"
)

// ChildConfig is what the supervisor handed to this process; Serve checks it. parent is standard input.
func ChildConfig(getenv func(string) string, parent io.Reader) ServeConfig {
	return ServeConfig{
		Addr:      getenv(envAddr),
		Dir:       getenv(envDir),
		AccessKey: getenv(envAccessKey),
		SecretKey: getenv(envSecretKey),
		Region:    getenv(envRegion),
		Debug:     getenv(envDebug) == "true",
		Parent:    parent,
	}
}

// childEnv is base with the configuration added. Of two values of a variable the later counts, so base cannot override it.
func childEnv(base []string, cfg ServeConfig) []string {
	return append(slices.Clone(base),
		envAddr+"="+cfg.Addr,
		envDir+"="+cfg.Dir,
		envAccessKey+"="+cfg.AccessKey,
		envSecretKey+"="+cfg.SecretKey,
		envRegion+"="+cfg.Region,
		envDebug+"="+strconv.FormatBool(cfg.Debug),
	)
}
