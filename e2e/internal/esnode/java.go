package esnode

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// jdk is an installed Java with a compiler.
type jdk struct {
	home    string
	release int // 17, 25
}

func (j jdk) program(name string) string { return filepath.Join(j.home, "bin", name) }

// MissingError says what to install.
type MissingError struct{ what, install string }

func (e *MissingError) Error() string {
	return fmt.Sprintf("real Elasticsearch and OpenSearch nodes need %s: %s", e.what, e.install)
}

// findJDK returns the oldest JDK that is new enough: a release was written for the Java of its own time, and what a later
// one brings can only be warnings.
func findJDK(oldest int) (jdk, error) {
	var best jdk
	for _, home := range javaHomes() {
		j, err := readJDK(home)
		if err == nil && j.release >= oldest && (best.home == "" || j.release < best.release) {
			best = j
		}
	}
	if best.home != "" {
		return best, nil
	}
	install := "apt-get install openjdk-17-jdk-headless (Debian 12) or openjdk-21-jdk-headless (Debian 13)"
	if oldest > 17 {
		install = "apt-get install openjdk-21-jdk-headless (Debian 13), or one of another origin in /usr/lib/jvm or JAVA_HOME"
	}
	return jdk{}, &MissingError{fmt.Sprintf("a JDK %d or newer", oldest), install}
}

// javaHomes are the places where a JDK may be: the user's choice, the one on the path, and those that packages install.
func javaHomes() []string {
	homes := []string{os.Getenv("JAVA_HOME")}
	if compiler, err := exec.LookPath("javac"); err == nil {
		if compiler, err = filepath.EvalSymlinks(compiler); err == nil {
			homes = append(homes, filepath.Dir(filepath.Dir(compiler)))
		}
	}
	installed, err := filepath.Glob("/usr/lib/jvm/*")
	if err != nil {
		return homes
	}
	return append(homes, installed...)
}

// readJDK reads what release of Java is in a folder, from the file that each has there.
func readJDK(home string) (jdk, error) {
	if _, err := exec.LookPath(filepath.Join(home, "bin", "javac")); err != nil {
		return jdk{}, err
	}
	file, err := os.Open(filepath.Join(home, "release"))
	if err != nil {
		return jdk{}, err
	}
	defer func() { _ = file.Close() }()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if version, ok := strings.CutPrefix(lines.Text(), "JAVA_VERSION="); ok {
			release, err := javaRelease(version)
			return jdk{home, release}, err
		}
	}
	return jdk{}, fmt.Errorf("%s says no JAVA_VERSION", file.Name())
}

// javaRelease is 17 for "17.0.15" and for "17". For the "1.8.0" of old it is 1, which is too old as well.
func javaRelease(version string) (int, error) {
	number, _, _ := strings.Cut(strings.Trim(version, `"`), ".")
	number, _, _ = strings.Cut(number, "-") // of an early access build
	return strconv.Atoi(number)
}
