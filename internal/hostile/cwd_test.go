package hostile_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/hostile"
	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/internal/testpython"
)

// imported are names that some interpreter, or the runtime, imports or looks for, besides those of
// the newest standard library.
const imported = `thread _thread dummy_thread imp cPickle cStringIO StringIO copy_reg ConfigParser
	Queue __builtin__ builtins exceptions _winapi _winreg winreg msvcrt nt posix org java vms_lib
	_overlapped _sha2 _sha256 _wmi _scproxy _signal _collections _pickle _frozen_importlib
	_frozen_importlib_external importlib_metadata importlib_resources typing_extensions
	sitecustomize usercustomize setuptools pkg_resources distutils ansible __main__ __init__
	mitogen _mitogen _mitogen_spawn _mitogen_forward _mitogen_tunnel _mitogen_files _mitogen_run
	_mitogen_ansible <_mitogen> <mitogen> <_mitogen_spawn> <string> python3 platform_python`

// importable returns all names that a file in the current directory could be imported by.
func importable(t *testing.T) []string {
	t.Helper()
	const list = `import sys; print(' '.join(sys.stdlib_module_names))`
	out, err := exec.Command("/usr/bin/python3", "-Ic", list).Output()
	if err != nil {
		t.Fatal(err)
	}
	names := append(strings.Fields(string(out)), strings.Fields(imported)...)
	if len(names) < 300 {
		t.Fatalf("only %d names", len(names))
	}
	return names
}

// sharedCwd is a directory in which the other user has planted files.
type sharedCwd struct {
	dir  string
	trap *hostile.Trap
}

// plantCwd has the other user plant a module of each name in a new directory: a file, or a package.
func plantCwd(t *testing.T, suffix string) sharedCwd {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "hostile-cwd-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	hostile.Hand(t, dir, lab.Other)
	var paths []string
	for _, name := range importable(t) {
		paths = append(paths, filepath.Join(dir, name+suffix), filepath.Join(dir, "x", name+suffix))
	}
	s := sharedCwd{dir, hostile.Plant(t, hostile.Directory, paths)}
	if len(s.trap.Refused) > 0 {
		t.Fatalf("could not be planted: %q", s.trap.Refused)
	}
	s.springs(t)
	return s
}

// meets runs a command of mitogen in the directory. Nothing planted may be executed.
func (s sharedCwd) meets(t *testing.T, env []string, args ...string) {
	t.Helper()
	cmd := exec.Command(executable(t), args...)
	cmd.Dir, cmd.Stdin = s.dir, nil
	cmd.Env = append(append(plainEnviron(), asCommand+"=1"), env...)
	out, err := cmd.CombinedOutput()
	if sprung := s.trap.Sprung(t); sprung != "" {
		t.Fatalf("%q with %q: what another user had planted was executed:\n%.1000s", args, env, sprung)
	}
	if err != nil {
		t.Errorf("%q with %q: %v: %s", args, env, err, out)
	}
}

// program is a script that imports what the runtime imports late.
const program = `import sys, logging, traceback, subprocess, tempfile, json, hashlib, inspect
import linecache
try:
    import _winapi
except ImportError:
    logging.exception("as it should be")
try:
    raise ValueError(1)
except ValueError:
    traceback.print_exc()
subprocess.call([sys.executable, "-I", "-c", "0"])
`

// Nothing that another user has planted in the current directory is executed, however a context is
// started there, and whatever is done with it.
func TestCurrentDirectory(t *testing.T) {
	l := lab.Need(t)
	targets := []string{"local", "exec:python3", "exec:sh", "exec:env", "sudo", "sudo:" + lab.Free,
		"su:" + lab.Free,
		"local+local", "local+sudo:" + lab.Free, "local+su:" + lab.Free + "+sudo", lab.Free,
		lab.Free + "+sudo"}
	outside := filepath.Join(t.TempDir(), "program.py")
	if err := os.WriteFile(outside, []byte(program), 0o644); err != nil {
		t.Fatal(err)
	}
	for suffix, few := range map[string]bool{".py": false, "/__init__.py": true} {
		s := plantCwd(t, suffix)
		for _, target := range targets {
			at := []string{"-t", target, "--ssh-config", l.Config}
			if few && !hostile.Long() && target != "sudo" {
				continue
			}
			s.meets(t, nil, slices.Concat([]string{"call"}, at, []string{"os:getuid"})...)
			if !hostile.Long() && target != "sudo" {
				continue
			}
			s.meets(t, nil, slices.Concat([]string{"ping"}, at)...)
			s.meets(t, nil, slices.Concat([]string{"doctor"}, at)...)
			s.meets(t, nil, slices.Concat([]string{"run"}, at, []string{outside})...)
			s.meets(t, nil, slices.Concat([]string{"exec"}, at, []string{"--", "true"})...)
		}
	}
}

// springs demands that the trap works: an interpreter that is told nothing else runs into it.
func (s sharedCwd) springs(t *testing.T) {
	t.Helper()
	cmd := exec.Command("/usr/bin/python3", "-c", "import struct")
	cmd.Dir = s.dir
	// another user is to remove what is there
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	cmd.Run()
	if s.trap.Sprung(t) == "" {
		t.Fatal("nothing was executed where the current directory comes first")
	}
	s.trap.Reset(t)
}

// Nor is anything with a relative path in what an interpreter goes by, with any interpreter.
func TestRelativePaths(t *testing.T) {
	lab.Need(t)
	s := plantCwd(t, ".py")
	envs := []string{"PYTHONPATH=", "PYTHONPATH=:", "PYTHONPATH=.", "PYTHONPATH=x",
		"PYTHONPATH=::/nowhere:x/:",
		"PYTHONHOME=x", "PYTHONUSERBASE=x", "PYTHONPYCACHEPREFIX=x", "PYTHONSAFEPATH=1",
		"PYTHONSTARTUP=struct.py",
		"PYTHONSAFEPATH=1 PYTHONPATH=."}
	for i, py := range testpython.Find() {
		targets := []string{"local", "exec:" + py.Path, "local+local"}
		for j, env := range envs {
			for k, target := range targets {
				if !hostile.Long() && (i+j+k)%len(envs) != 0 {
					continue
				}
				name := fmt.Sprintf("%s %s", py.Name(), env)
				s.meets(t, strings.Fields(env), "call", "--python", py.Path, "-t", target, "os:getpid")
				if t.Failed() {
					t.Fatal(name)
				}
			}
		}
	}
}
