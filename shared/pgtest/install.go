package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"hydrant/shared/proc"
)

// find returns the folder of PostgreSQL's programs. Debian keeps them, by version, where no path leads.
func find() (string, error) {
	folders, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		return "", err
	}
	slices.SortFunc(folders, func(a, b string) int { return version(b) - version(a) })
	if path, err := exec.LookPath("initdb"); err == nil {
		folders = append(folders, filepath.Dir(path))
	}
	for _, dir := range folders {
		if _, err := os.Stat(filepath.Join(dir, "initdb")); err == nil {
			return dir, nil
		}
	}
	return "", ErrNotInstalled
}

func version(bin string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(bin)))
	return n
}

// folder makes one that only whom the server runs as can read. A test's own folder lies in one that only root can enter.
func folder() (string, error) {
	dir, err := os.MkdirTemp("", "hydrant-postgres-")
	if err != nil {
		return "", err
	}
	owner, err := account()
	if err == nil && owner != nil {
		err = os.Chown(dir, int(owner.Uid), int(owner.Gid))
	}
	if err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	return dir, nil
}

// account is whom the server runs as, nil for who runs the test.
func account() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	found, err := user.Lookup("postgres")
	if err != nil {
		found, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL does not run as root: %w", err)
	}
	uid, uidErr := strconv.ParseUint(found.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(found.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), NoSetGroups: true}, errors.Join(uidErr, gidErr)
}

// initialise makes the data of a new server. Only that is not synced: what is committed later is.
func initialise(ctx context.Context, programs, dir, data string, owner *syscall.Credential) error {
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte(Password+"\n"), 0o644); err != nil { //nolint:gosec // the folder is closed to others
		return err
	}
	initdb, err := proc.Start(proc.Spec{
		Name: "initdb", Path: filepath.Join(programs, "initdb"), Dir: dir, LogFile: filepath.Join(dir, "initdb.log"), User: owner,
		Args: []string{
			"--pgdata", data, "--username", User, "--pwfile", password, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C",
			"--no-sync", "--no-instructions",
		},
	})
	if err != nil {
		return err
	}
	defer initdb.Kill()
	select {
	case <-initdb.Exited():
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := initdb.ExitErr(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, initdb.LogTail(1000))
	}
	return nil
}
