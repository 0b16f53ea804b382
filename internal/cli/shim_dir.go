package cli

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mitogen-go/mitogen/internal/peer"
)

// sshVariables name the ssh of programs that look for it in their environment.
var sshVariables = []string{"GIT_SSH_COMMAND", "RSYNC_RSH", "BORG_RSH", "SVN_SSH", "CVS_RSH",
	"ANSIBLE_SSH_EXECUTABLE"}

// shimEnvironment returns environ with the variables by which a command finds the shims in dir.
func shimEnvironment(environ []string, dir, socket, config string) []string {
	ssh := filepath.Join(dir, "ssh")
	set := map[string]string{
		withVariable: socket, "MITOGEN_SSH": ssh, configVariable: config, "PATH": dir,
	}
	if path := os.Getenv("PATH"); path != "" { // an empty element is the current directory
		set["PATH"] += string(filepath.ListSeparator) + path
	}
	for _, name := range sshVariables {
		set[name] = ssh
	}
	set["GIT_SSH_VARIANT"], set["MUTAGEN_SSH_PATH"] = "ssh", dir
	var env []string
	for _, pair := range environ {
		if name, _, _ := strings.Cut(pair, "="); set[name] == "" {
			env = append(env, pair)
		}
	}
	for name, value := range set {
		env = append(env, name+"="+value)
	}
	return env
}

// shimPrefix begins the names of directories of shims.
const shimPrefix = "mitogen-with-"

// sweepAge is the least age of a directory of shims that is removed. A newer one may not be locked
// yet.
const sweepAge = time.Minute

// makeShims makes a directory that no other user can enter, with this program under the names of
// sshPrograms. Its name has no blanks, because programs split what names their ssh at them.
func makeShims() (dir string, err error) {
	at := os.TempDir()
	if strings.ContainsAny(at, " \t\n'\"\\$`:") {
		at = "/tmp"
	}
	exe, err := os.Executable()
	if err != nil {
		return "", err
	}
	if dir, err = os.MkdirTemp(at, shimPrefix); err != nil {
		return "", err
	}
	err = errors.Join(os.Chmod(dir, 0o700), peer.CheckDirectory(dir))
	if err == nil {
		sweepShims(at)
	}
	for _, name := range sshPrograms {
		err = errors.Join(err, os.Symlink(exe, filepath.Join(dir, name)))
	}
	if err != nil {
		os.RemoveAll(dir)
	}
	return dir, err
}

// lockShims keeps dir from being swept, until stop or this process's end.
func lockShims(dir string) (stop func(), err error) {
	f, err := os.OpenFile(dir, unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

// sweepShims removes this user's directories of shims whose processes were killed. Other users must
// not be able to rename files in at: they could have any directory of this user removed.
func sweepShims(at string) {
	all, err := os.ReadDir(at)
	if err != nil {
		return
	}
	for _, e := range all {
		st, err := e.Info()
		if !strings.HasPrefix(e.Name(), shimPrefix) || err != nil || st.Mode() != os.ModeDir|0o700 ||
			time.Since(st.ModTime()) < sweepAge || st.Sys().(*syscall.Stat_t).Uid != uint32(os.Getuid()) {
			continue
		}
		dir := filepath.Join(at, e.Name())
		if stop, err := lockShims(dir); err == nil {
			os.RemoveAll(dir)
			stop()
		}
	}
}

// lookShimmed finds a command in the search path that the command itself will have.
func lookShimmed(name, dir string) (string, error) {
	if slices.Contains(sshPrograms, name) {
		return filepath.Join(dir, name), nil
	}
	return exec.LookPath(name)
}
