package esnode

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/template"
	"time"
)

//go:embed launcher/*.java
var launchers embed.FS

// What a fetched release's folder holds.
const (
	libFolder    = "lib"                           // jars of the class path
	classFolder  = "classes"                       // the launcher
	moduleFolder = "home/modules/transport-netty4" // jars of the HTTP server where it is a module
	recipeFile   = "recipe"                        // written last: the digest of what the folder was made of
)

// Fetch brings a release into a folder below dir, unless it is there already. Several processes may call it at once, one
// of them fetches. What one that was killed has left is not taken for a release: a folder gets its name when it is whole.
//
// It runs Maven, which checks the artifacts against their published checksums, and a Java compiler; where one is not
// installed, the error is a MissingError.
func Fetch(ctx context.Context, dir string, v Version, log io.Writer) error {
	recipe, err := v.recipe()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("fetch %s: %w", v, err)
	}
	unlock, err := lock(ctx, filepath.Join(dir, string(v)+".lock"))
	if err != nil {
		return fmt.Errorf("fetch %s: %w", v, err)
	}
	defer unlock()
	if fetched(dir, v) {
		return nil
	}
	if err := assemble(ctx, dir, v, recipe, log); err != nil {
		return fmt.Errorf("fetch %s: %w", v, err)
	}
	return nil
}

// lock waits for an exclusive lock on a file, which the kernel takes back from a process that is killed.
func lock(ctx context.Context, name string) (unlock func(), err error) {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return func() { _ = file.Close() }, nil
		case !errors.Is(err, syscall.EWOULDBLOCK):
			return nil, errors.Join(err, file.Close())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), file.Close())
		}
	}
}

// fetched says whether a release is there, made of what it would be made of now.
func fetched(dir string, v Version) bool {
	recipe, err := v.recipe()
	if err != nil {
		return false
	}
	want, err := recipe.digest()
	if err != nil {
		return false
	}
	got, err := os.ReadFile(filepath.Join(dir, string(v), recipeFile))
	return err == nil && string(got) == want
}

// digest changes with whatever goes into the folder.
func (r recipe) digest() (string, error) {
	sum := sha256.New()
	_, _ = fmt.Fprintf(sum, "%+v\n", r)
	for _, name := range r.sources() {
		source, err := launchers.ReadFile("launcher/" + name)
		if err != nil {
			return "", fmt.Errorf("launcher: %w", err)
		}
		_, _ = sum.Write(source)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func (r recipe) sources() []string { return []string{r.launcher + ".java", "Foreground.java"} }

func assemble(ctx context.Context, dir string, v Version, r recipe, log io.Writer) error {
	java, err := findJDK(r.java)
	if err != nil {
		return err
	}
	if _, err := exec.LookPath("mvn"); err != nil {
		return &MissingError{"Maven", "apt-get install maven"}
	}
	work := filepath.Join(dir, string(v)+".partial")
	if err := os.RemoveAll(work); err != nil { // of one that was killed
		return err
	}
	for _, step := range []func() error{
		func() error { return os.MkdirAll(work, 0o750) },
		func() error { return download(ctx, work, r, log) },
		func() error { return makeModule(work, v, r) },
		func() error { return compile(ctx, work, java, r, log) },
		func() error { return writeRecipe(work, r) },
		func() error { return os.RemoveAll(filepath.Join(dir, string(v))) },
		func() error { return os.Rename(work, filepath.Join(dir, string(v))) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

const pom = `<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>hydrant</groupId>
  <artifactId>search-node</artifactId>
  <version>1</version>
  <dependencies>{{range .}}
    <dependency>
      <groupId>{{.Group}}</groupId>
      <artifactId>{{.Name}}</artifactId>
      <version>{{.Version}}</version>
    </dependency>{{end}}
  </dependencies>
</project>
`

func download(ctx context.Context, work string, r recipe, log io.Writer) error {
	parsed, err := template.New("pom").Parse(pom)
	if err != nil {
		return err
	}
	var text strings.Builder
	if err := parsed.Execute(&text, r.artifacts); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(work, "pom.xml"), []byte(text.String()), 0o600); err != nil {
		return err
	}
	return run(ctx, work, log, "mvn", "-B", "-q", "-Dstyle.color=never", "--strict-checksums",
		"dependency:copy-dependencies", "-DoutputDirectory="+libFolder)
}

// makeModule moves the HTTP server out of the class path, where that is how the release loads it.
func makeModule(work string, v Version, r recipe) error {
	if r.plugin == "" {
		return nil
	}
	module := filepath.Join(work, moduleFolder)
	if err := os.MkdirAll(module, 0o750); err != nil {
		return err
	}
	jars, err := os.ReadDir(filepath.Join(work, libFolder))
	if err != nil {
		return err
	}
	for _, jar := range jars {
		if !ofModule(jar.Name()) {
			continue
		}
		if err := os.Rename(filepath.Join(work, libFolder, jar.Name()), filepath.Join(module, jar.Name())); err != nil {
			return err
		}
	}
	descriptor := fmt.Sprintf("name=transport-netty4\ndescription=HTTP server\nversion=%[2]s\n%[1]s.version=%[2]s\njava.version=%[3]d\nclassname=%[4]s\n",
		v.Distribution(), v.Number(), r.java, r.plugin)
	return os.WriteFile(filepath.Join(module, "plugin-descriptor.properties"), []byte(descriptor), 0o600)
}

func ofModule(jar string) bool {
	return slices.ContainsFunc([]string{"netty-", "transport-netty4-", "elasticsearch-ssl-config-"}, func(prefix string) bool {
		return strings.HasPrefix(jar, prefix)
	})
}

// compile compiles the launcher for the oldest Java that runs the release, since the next test may find another Java than
// this one.
func compile(ctx context.Context, work string, java jdk, r recipe, log io.Writer) error {
	args := []string{"--release", fmt.Sprint(r.java), "-d", classFolder, "-cp", libFolder + "/*"}
	for _, name := range r.sources() {
		source, err := launchers.ReadFile("launcher/" + name)
		if err != nil {
			return fmt.Errorf("launcher: %w", err)
		}
		if err := os.WriteFile(filepath.Join(work, name), source, 0o600); err != nil {
			return err
		}
		args = append(args, name)
	}
	return run(ctx, work, log, java.program("javac"), args...)
}

func writeRecipe(work string, r recipe) error {
	digest, err := r.digest()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(work, recipeFile), []byte(digest), 0o600)
}

func run(ctx context.Context, dir string, log io.Writer, name string, args ...string) error {
	command := exec.CommandContext(ctx, name, args...)
	command.Dir, command.Stdout, command.Stderr = dir, log, log
	if err := command.Run(); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(name), err)
	}
	return nil
}
