package pgtest

import (
	"io"
	"os/exec"
	"strconv"
)

// guard is a process that kills others when the test's own has ended without a word. Those that are stopped do not notice
// that themselves.
type guard struct {
	process *exec.Cmd
	words   io.WriteCloser
}

func startGuard(pids []int) (*guard, error) {
	args := []string{"-c", `read -r word || kill -s KILL "$@"`, "guard"}
	for _, pid := range pids {
		args = append(args, strconv.Itoa(pid))
	}
	process := exec.Command("/bin/sh", args...) //nolint:noctx // it ends with a word, or with the test's process
	words, err := process.StdinPipe()
	if err != nil {
		return nil, err
	}
	return &guard{process, words}, process.Start()
}

// end ends the guard, which kills nobody.
func (g *guard) end() {
	_, _ = io.WriteString(g.words, "over\n") // that the guard has ended is as good
	_ = g.process.Wait()
}
