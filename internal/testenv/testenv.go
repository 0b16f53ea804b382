// Package testenv makes tests independent of how they are started. Importing it is all: before the
// first test runs, it sets
//
//   - the umask to 022,
//   - signals that the process ignores, as under nohup, so that programs which tests start have
//     them at their default,
//   - the environment to what tests expect: a locale with UTF-8, no variable that changes what
//     Python, a shell, ssh, Ansible or mitogen do, directories of system programs in the PATH,
//   - TMPDIR to a directory in which programs and sockets can be, if it isn't one,
//   - HOME to the account's own directory, if it is none that can be used.
//
// What mitogen itself does in such surroundings is tried by internal/surroundings.
//
// Only a process that `go test` starts is changed, or one with -test.timeout. Programs that tests
// start are often the test's own executable: the test gives these the surroundings that it wants.
package testenv

import (
	"errors"
	"os"
	"os/signal"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

func init() {
	if slices.ContainsFunc(os.Args[1:],
		func(a string) bool { return strings.HasPrefix(a, "-test.timeout") }) {
		clean()
	}
}

func clean() {
	syscall.Umask(0o022)
	defaultSignals()
	for name, value := range variables(os.Environ()) {
		if value == "" {
			os.Unsetenv(name)
		} else {
			os.Setenv(name, value)
		}
	}
	os.Setenv("MITOGEN_CONFIG", "") // no file of this user's
	os.Setenv("TMPDIR", tempDir(os.Getenv("TMPDIR"), "/tmp", "/var/tmp"))
	os.Setenv("HOME", homeDir(os.Getenv("HOME")))
}

// sink takes signals that were ignored, which is to ignore them, but not to hand that on.
var sink = make(chan os.Signal, 1)

// defaultSignals has programs that this process starts see no ignored signal: what has a handler
// has its default in a program.
func defaultSignals() {
	for _, sig := range ignored() {
		signal.Notify(sink, sig)
	}
}

// meant are variables for tests, though their names begin as names that are taken away.
var meant = []string{"MITOGEN_ANSIBLE", "MITOGEN_ANSIBLE_ALL", "MITOGEN_ANSIBLE_POSIX",
	"MITOGEN_ANSIBLE_TOOLS", "MITOGEN_CONSOLE", "MITOGEN_DOCS", "MITOGEN_FUZZ", "MITOGEN_HOSTILE",
	"MITOGEN_NETWORK",
	"MITOGEN_DIFFER", "MITOGEN_SEED", "MITOGEN_SITE", "MITOGEN_SOAK", "MITOGEN_SUDO_RS",
	"MITOGEN_TEST_PYTHONS", "MITOGEN_NEW", "MITOGEN_RUN", "MITOGEN_PROGRAMS", "MITOGEN_ONLY_NAMED",
	"MITOGEN_SURROUNDINGS", "MITOGEN_TOOLS", "MITOGEN_TRAFFIC", "ANSIBLE_COLLECTIONS_PATH",
	"XDG_CACHE_HOME"}

// Variables that decide what programs do, by name and by how names begin.
var (
	deciding = []string{"BASH_ENV", "CDPATH", "ENV", "GREP_OPTIONS", "IFS", "LANGUAGE", "LS_COLORS",
		"NO_COLOR", "POSIXLY_CORRECT",
		"PS4", "SHELLOPTS", "BASHOPTS", "SSH_AUTH_SOCK", "SSH_ASKPASS", "SSH_ASKPASS_REQUIRE",
		"SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY",
		"DISPLAY", "TZ", "VIRTUAL_ENV", "COLUMNS", "LINES", "PAGER", "EDITOR"}
	prefixes = []string{"LC_", "PYTHON", "ANSIBLE_", "MITOGEN_", "XDG_", "SUDO_", "DOAS_", "GIT_",
		"KUBE", "DOCKER_"}
)

// variables returns what is to change of an environment; "" removes a variable.
func variables(env []string) map[string]string {
	change := map[string]string{"LANG": "C.UTF-8", "PATH": withSystem(os.Getenv("PATH"))}
	for _, e := range env {
		name, _, _ := strings.Cut(e, "=")
		begins := func(p string) bool { return strings.HasPrefix(name, p) }
		if slices.Contains(deciding, name) ||
			slices.ContainsFunc(prefixes, begins) && !slices.Contains(meant, name) {
			change[name] = ""
		}
	}
	return change
}

// withSystem returns a PATH in which the programs of the system's administrator are too, and no
// directory that depends on the current one.
func withSystem(path string) string {
	dirs := filepath.SplitList(path)
	dirs = slices.DeleteFunc(dirs, func(d string) bool { return !filepath.IsAbs(d) })
	for _, d := range []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin",
		"/bin"} {
		if !slices.Contains(dirs, d) {
			dirs = append(dirs, d)
		}
	}
	return strings.Join(dirs, string(filepath.ListSeparator))
}

// longestTemp limits the name of a directory for temporary files, in bytes. Below it there are
// sockets, whose names have room for some hundred bytes.
const longestTemp = 24

// tempDir returns the first of dirs that is fit for temporary files: private to users, on a file
// system that executes, with a name that is plain and short. It returns the last if none is.
func tempDir(dirs ...string) string {
	for _, d := range dirs {
		if plain(d) && len(d) <= longestTemp && usable(d) == nil {
			return d
		}
	}
	return dirs[len(dirs)-1]
}

// plain reports whether a path means the same everywhere, also to a shell.
func plain(dir string) bool {
	return filepath.IsAbs(dir) && filepath.Clean(dir) == dir &&
		!strings.ContainsFunc(dir, func(r rune) bool {
			letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
			return !letter && !strings.ContainsRune("/._-", r)
		})
}

// usable tries whether programs can be made and executed in dir.
func usable(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return err
	case info.Mode().Perm()&0o022 != 0 && info.Mode()&os.ModeSticky == 0:
		return errors.New("others can exchange what is in it")
	}
	f, err := os.CreateTemp(dir, "testenv-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := f.Chmod(0o700); err != nil {
		return err
	}
	return unix.Access(f.Name(), unix.X_OK)
}

// homeDir returns home if it is a directory of this user's that can be written to, else the
// account's.
func homeDir(home string) string {
	if info, err := os.Stat(home); err == nil && filepath.IsAbs(home) && info.IsDir() &&
		unix.Access(home, unix.W_OK) == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) == os.Getuid() {
			return home
		}
	}
	if u, err := user.Current(); err == nil {
		return u.HomeDir
	}
	return home
}
