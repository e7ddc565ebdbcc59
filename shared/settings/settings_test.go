package settings_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"hydrant/shared/settings"
)

// common stands for what several services share, as broker.Config.
type common struct {
	URL      string        `name:"nats-url" default:"nats://127.0.0.1:4222" help:"Servers."`
	Replicas int           `name:"replicas" default:"1" help:"Replicas."`
	Wait     time.Duration `name:"ack-wait" default:"30s" help:"Wait."`
	Allow    bool          `name:"allow-unsynced" help:"Allow."`
}

func (c common) Validate() error {
	if c.Replicas > 5 {
		return fmt.Errorf("--replicas (HYDRANT_REPLICAS): %d is not accepted; use 1, 3 or 5", c.Replicas)
	}
	return nil
}

type config struct {
	NATS     common           `embed:""`
	Endpoint string           `name:"s3-endpoint" help:"Endpoint."`
	Key      string           `name:"s3-secret-access-key" secret:"" help:"Secret."`
	Level    string           `name:"log-level" enum:"debug,info" default:"info" help:"Level: ${enum}."`
	Bytes    int64            `name:"store-bytes" default:"0" help:"Bytes."`
	Version  kong.VersionFlag `name:"version" help:"Print the version and stop."`
}

func (c config) Validate() error {
	if c.Bytes < 0 {
		return fmt.Errorf("--store-bytes (HYDRANT_STORE_BYTES): %d is not accepted; use 0 or more", c.Bytes)
	}
	return nil
}

// outcome is what a program sees of its settings.
type outcome struct {
	cfg            config
	err            error
	stdout, stderr string
	exit           int // -1: it goes on
}

func parse(t *testing.T, args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	o := outcome{exit: -1}
	parser, err := settings.Parser("hydrant-test", "A test.", &o.cfg, &stdout, &stderr, func(code int) { o.exit = code })
	if err != nil {
		t.Fatal(err)
	}
	if _, err = parser.Parse(args); err != nil {
		o.err = settings.Explain(err)
	}
	o.stdout, o.stderr = stdout.String(), stderr.String()
	return o
}

func TestDefaults(t *testing.T) {
	o := parse(t)
	want := config{NATS: common{URL: "nats://127.0.0.1:4222", Replicas: 1, Wait: 30 * time.Second}, Level: "info"}
	if o.err != nil || o.cfg != want {
		t.Errorf("got %+v, %v", o.cfg, o.err)
	}
}

// Each setting has a flag and a variable of the same name; the flag wins.
func TestFlagsAndVariables(t *testing.T) {
	for _, c := range []struct {
		flag, variable, value, other string
		get                          func(config) any
		want, wantOther              any
	}{
		{"nats-url", "HYDRANT_NATS_URL", "nats://a", "nats://b", func(c config) any { return c.NATS.URL }, "nats://a", "nats://b"},
		{"replicas", "HYDRANT_REPLICAS", "3", "5", func(c config) any { return c.NATS.Replicas }, 3, 5},
		{"ack-wait", "HYDRANT_ACK_WAIT", "5s", "1m", func(c config) any { return c.NATS.Wait }, 5 * time.Second, time.Minute},
		{"allow-unsynced", "HYDRANT_ALLOW_UNSYNCED", "true", "false", func(c config) any { return c.NATS.Allow }, true, false},
		{"s3-endpoint", "HYDRANT_S3_ENDPOINT", "http://a", "http://b", func(c config) any { return c.Endpoint }, "http://a", "http://b"},
		{"s3-secret-access-key", "HYDRANT_S3_SECRET_ACCESS_KEY", "a", "b", func(c config) any { return c.Key }, "a", "b"},
		{"log-level", "HYDRANT_LOG_LEVEL", "debug", "info", func(c config) any { return c.Level }, "debug", "info"},
		{"store-bytes", "HYDRANT_STORE_BYTES", "5000000000", "0", func(c config) any { return c.Bytes }, int64(5_000_000_000), int64(0)},
	} {
		t.Run(c.flag, func(t *testing.T) {
			if got := settings.Variable(c.flag); got != c.variable {
				t.Errorf("its variable is %s, want %s", got, c.variable)
			}
			if o := parse(t, "--"+c.flag+"="+c.value); o.err != nil || c.get(o.cfg) != c.want {
				t.Errorf("by flag: %v, %v", c.get(o.cfg), o.err)
			}
			t.Setenv(c.variable, c.value)
			if o := parse(t); o.err != nil || c.get(o.cfg) != c.want {
				t.Errorf("by variable: %v, %v", c.get(o.cfg), o.err)
			}
			if o := parse(t, "--"+c.flag+"="+c.other); o.err != nil || c.get(o.cfg) != c.wantOther {
				t.Errorf("by both: %v, %v", c.get(o.cfg), o.err)
			}
		})
	}
	if o := parse(t, "--allow-unsynced"); o.err != nil || !o.cfg.NATS.Allow {
		t.Errorf("a switch without a value: %+v, %v", o.cfg, o.err)
	}
}

// A wrong value is an error that names both forms of the setting, the value and what is accepted.
func TestErrors(t *testing.T) {
	for _, c := range []struct {
		name, flag, value string
		want              []string
	}{
		{"a word for a number", "replicas", "three", []string{`"three"`, "int"}},
		{"a number out of range", "replicas", "7", []string{"7", "1, 3 or 5"}},
		{"a number without a unit", "ack-wait", "30", []string{"30", "duration"}},
		{"a word for a switch", "allow-unsynced", "perhaps", []string{`"perhaps"`, "true", "false"}},
		{"none of the words", "log-level", "loud", []string{`"loud"`, `"debug","info"`}},
		{"a contradiction", "store-bytes", "-1", []string{"-1", "0 or more"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			check := func(by string, err error) {
				t.Helper()
				if err == nil {
					t.Errorf("by %s: no error", by)
					return
				}
				for _, want := range append(c.want, "--"+c.flag, settings.Variable(c.flag)) {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("by %s: error %q is without %q", by, err, want)
					}
				}
			}
			check("flag", parse(t, "--"+c.flag+"="+c.value).err)
			t.Setenv(settings.Variable(c.flag), c.value)
			check("variable", parse(t).err)
			var cfg config
			check("environment alone", settings.FromEnvironment(&cfg))
		})
	}
	for _, args := range [][]string{{"--nonsense"}, {"argument"}, {"--replicas"}} {
		if o := parse(t, args...); o.err == nil {
			t.Errorf("%v is accepted", args)
		}
	}
}

func TestSecrets(t *testing.T) {
	const variable = "HYDRANT_S3_SECRET_ACCESS_KEY"
	file := func(t *testing.T, content string) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct{ name, content, want string }{
		{"plain", "hunter2", "hunter2"},
		{"with a line break", "hunter2\n", "hunter2"},
		{"with a line break of Windows", "hunter2\r\n", "hunter2"},
		{"with spaces", " hunter 2 ", " hunter 2 "},
		{"that looks like a flag", "--hunter2", "--hunter2"},
		{"with an equals sign", "a=b,c", "a=b,c"},
		{"empty", "", ""},
	} {
		t.Run("a file, "+c.name, func(t *testing.T) {
			t.Setenv(variable+"_FILE", file(t, c.content))
			if o := parse(t); o.err != nil || o.cfg.Key != c.want {
				t.Errorf("got %q, %v", o.cfg.Key, o.err)
			}
			var cfg config
			if err := settings.FromEnvironment(&cfg); err != nil || cfg.Key != c.want {
				t.Errorf("from the environment alone: %q, %v", cfg.Key, err)
			}
		})
	}
	t.Run("a flag wins over the file", func(t *testing.T) {
		t.Setenv(variable+"_FILE", file(t, "file"))
		if o := parse(t, "--s3-secret-access-key=flag"); o.err != nil || o.cfg.Key != "flag" {
			t.Errorf("got %q, %v", o.cfg.Key, o.err)
		}
	})
	t.Run("both the file and the variable", func(t *testing.T) {
		t.Setenv(variable, "hunter2")
		t.Setenv(variable+"_FILE", file(t, "hunter3"))
		o := parse(t)
		if o.err == nil || !strings.Contains(o.err.Error(), variable+"_FILE") || strings.Contains(o.err.Error(), "hunter") {
			t.Errorf("error is %v", o.err)
		}
	})
	t.Run("a file that is not there", func(t *testing.T) {
		missing := filepath.Join(t.TempDir(), "absent")
		t.Setenv(variable+"_FILE", missing)
		o := parse(t)
		if o.err == nil || !strings.Contains(o.err.Error(), variable+"_FILE") || !strings.Contains(o.err.Error(), missing) {
			t.Errorf("error is %v", o.err)
		}
	})
	t.Run("what is no secret has no file", func(t *testing.T) {
		t.Setenv("HYDRANT_S3_ENDPOINT_FILE", file(t, "http://a"))
		if o := parse(t); o.err != nil || o.cfg.Endpoint != "" {
			t.Errorf("got %q, %v", o.cfg.Endpoint, o.err)
		}
	})
	t.Run("the help does not show it", func(t *testing.T) {
		t.Setenv(variable, "hunter2")
		if o := parse(t, "--help"); strings.Contains(o.stdout, "hunter2") {
			t.Errorf("the help is\n%s", o.stdout)
		}
	})
}

func TestHelp(t *testing.T) {
	o := parse(t, "--help")
	if o.exit != 0 || o.stderr != "" {
		t.Errorf("it ends with %d and writes %q", o.exit, o.stderr)
	}
	for _, want := range []string{
		"hydrant-test", "A test.", "--nats-url", "nats://127.0.0.1:4222", "$HYDRANT_NATS_URL", "$HYDRANT_S3_ENDPOINT",
		"$HYDRANT_S3_SECRET_ACCESS_KEY", "--log-level", "debug,info", "30s",
	} {
		if !strings.Contains(o.stdout, want) {
			t.Errorf("the help is without %q:\n%s", want, o.stdout)
		}
	}
	for _, not := range []string{"HYDRANT_VERSION", "HYDRANT_HELP", "S_3"} {
		if strings.Contains(o.stdout, not) {
			t.Errorf("the help has %q:\n%s", not, o.stdout)
		}
	}
}

func TestVersion(t *testing.T) {
	if o := parse(t, "--version"); o.exit != 0 || strings.TrimSpace(o.stdout) != settings.Version {
		t.Errorf("it ends with %d and prints %q", o.exit, o.stdout)
	}
	// Variables of these names are set for other ends, such as an image's tag.
	t.Setenv("HYDRANT_VERSION", "1.2.3")
	t.Setenv("HYDRANT_HELP", "true")
	if o := parse(t); o.err != nil || o.exit != -1 || o.stdout != "" {
		t.Errorf("it ends with %d, %v, and prints %q", o.exit, o.err, o.stdout)
	}
}

// Sub-commands have the same variables.
func TestSubCommands(t *testing.T) {
	var cli struct {
		Run struct {
			NATS common `embed:""`
		} `cmd:"" help:"Run."`
		Status struct {
			Watch bool `name:"s3-watch" help:"Watch."`
		} `cmd:"" help:"Status."`
	}
	t.Setenv("HYDRANT_S3_WATCH", "yes")
	t.Setenv("HYDRANT_NATS_URL", "nats://a")
	parser, err := settings.Parser("hydrant", "", &cli, &bytes.Buffer{}, &bytes.Buffer{}, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse([]string{"status"}); err != nil || !cli.Status.Watch {
		t.Errorf("status: %+v, %v", cli.Status, err)
	}
	if _, err := parser.Parse([]string{"run"}); err != nil || cli.Run.NATS.URL != "nats://a" {
		t.Errorf("run: %+v, %v", cli.Run, err)
	}
}

func TestExplainLeavesOtherErrorsAlone(t *testing.T) {
	for _, text := range []string{
		"unknown flag --nonsense", "unexpected argument x", "--a (HYDRANT_A): no", "--a and --b: both are x", "--", "--a", "plain: text",
	} {
		if err := settings.Explain(errors.New(text)); err.Error() != text {
			t.Errorf("%q becomes %q", text, err)
		}
	}
}
