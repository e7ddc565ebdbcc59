package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// clockSetting is by how many seconds the clock of a program that BuildWithClocks built is ahead of the machine's.
const clockSetting = "HYDRANT_TEST_CLOCK_AHEAD"

// What such a program has in the package time, where another has the machine's clock.
const (
	clockRead      = "\tsec, nsec, mono := runtimeNow()\n\tif mono == 0 {"
	clockReadAhead = "\tsec, nsec, mono := runtimeNow()\n\tsec += ahead\n\tif mono == 0 {"
	clockAhead     = `package time

import "syscall"

var ahead = func() int64 {
	setting, _ := syscall.Getenv("` + clockSetting + `")
	seconds, _ := atoi(setting)
	return int64(seconds)
}()
`
)

// BuildWithClocks is Build of programs whose clocks can be set apart, by Options.Clocks: time.Now of each is ahead of the machine's or
// behind, and what passes between two moments is not changed by that, as with a clock that is wrong. No file of Go's is changed.
func BuildWithClocks(ctx context.Context, dir string) (Programs, error) {
	overlay, err := clockOverlay(ctx, dir)
	if err != nil {
		return Programs{}, fmt.Errorf("set clocks apart: %w", err)
	}
	return build(ctx, dir, []string{"-overlay", overlay}, everything()...)
}

// clockOverlay writes what replaces two files of the package time, and returns where the list of them is.
func clockOverlay(ctx context.Context, dir string) (list string, err error) {
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	of := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	read, err := os.ReadFile(filepath.Join(of, "time.go")) // #nosec G304 -- of the Go distribution
	if err != nil {
		return "", err
	}
	if strings.Count(string(read), clockRead) != 1 {
		return "", errors.New("this Go release reads the clock in another way")
	}
	replace := map[string]string{}
	for name, content := range map[string]string{"time.go": strings.Replace(string(read), clockRead, clockReadAhead, 1), "ahead.go": clockAhead} {
		replace[filepath.Join(of, name)] = filepath.Join(dir, name)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return "", err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	list = filepath.Join(dir, "overlay.json")
	return list, os.WriteFile(list, overlay, 0o600)
}

// clock is the setting of a part's clock.
func (d *Deployment) clock(name string) []string {
	ahead, set := d.options.Clocks[name]
	if !set {
		return nil
	}
	return []string{fmt.Sprintf("%s=%d", clockSetting, ahead/time.Second)}
}
