package goctx

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/mitogen-go/mitogen/internal/process"
)

// A program is all that the system has to know of one.
type program struct {
	path      string // looked up in PATH, if it has no slash
	argv      []string
	env       map[string]string
	dir       string // "": the context's
	mustEnter bool   // dir was asked for: without it the program is not started
}

// program returns what a session executes.
func (spec *sessionSpec) program() program {
	p := program{env: environ()}
	shell := defaultShell
	if spec.Login {
		a := ownAccount()
		shell = a.shell
		p.env["HOME"], p.env["SHELL"] = a.home, a.shell
		p.env["USER"], p.env["LOGNAME"] = a.name, a.name
		if p.dir = a.home; unix.Access(p.dir, unix.X_OK) != nil {
			p.dir = "/"
		}
	}
	for _, pair := range spec.Env {
		p.env[string(pair[0])] = string(pair[1])
	}
	if len(spec.Cwd) > 0 {
		p.dir, p.mustEnter = string(spec.Cwd), true
	}
	base := filepath.Base(shell)
	switch {
	case len(spec.Argv) > 0:
		for _, a := range spec.Argv {
			p.argv = append(p.argv, string(a))
		}
		p.path = p.argv[0]
	case len(spec.Command) > 0:
		p.path, p.argv = shell, []string{base, "-c", string(spec.Command)}
	default:
		p.path, p.argv = shell, []string{"-" + base}
	}
	return p
}

// environ returns the environment of this process.
func environ() map[string]string {
	env := map[string]string{}
	for _, v := range os.Environ() {
		name, value, _ := strings.Cut(v, "=")
		env[name] = value
	}
	return env
}

// start executes the program. The error is a *startError if a process could have been made.
func (p *program) start(files []*os.File, sys *syscall.SysProcAttr) (*os.Process, error) {
	if p.mustEnter {
		if err := mayEnter(p.dir); err != nil {
			return nil, &startError{"cd " + p.dir, err}
		}
	}
	path, err := p.find()
	if err != nil {
		return nil, &startError{p.path, err}
	}
	env := make([]string, 0, len(p.env))
	for name, value := range p.env {
		env = append(env, name+"="+value)
	}
	slices.Sort(env)
	proc, err := process.Start(path, p.argv,
		&os.ProcAttr{Dir: p.dir, Env: env, Files: files, Sys: sys})
	var number unix.Errno
	if !errors.As(err, &number) {
		return proc, err
	}
	if slices.Contains([]unix.Errno{unix.EAGAIN, unix.ENOMEM, unix.EMFILE, unix.ENFILE}, number) {
		return nil, err
	}
	return nil, &startError{p.path, number}
}

// mayEnter returns why a directory can't be entered.
func mayEnter(dir string) error {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return unix.ENOTDIR
	}
	return unix.Access(dir, unix.X_OK)
}

// find looks the program up as execvp does, in the PATH that it will have. Names are relative to
// the directory that it will have.
func (p *program) find() (string, error) {
	if strings.Contains(p.path, "/") {
		return p.path, nil
	}
	list, given := p.env["PATH"]
	if !given {
		list = "/bin:/usr/bin"
	}
	failed := error(unix.ENOENT)
	for _, dir := range filepath.SplitList(list) {
		path := cmp.Or(dir, ".") + "/" + p.path
		at := path
		if !filepath.IsAbs(path) && p.dir != "" {
			at = p.dir + "/" + path
		}
		var st unix.Stat_t
		if unix.Stat(at, &st) != nil {
			continue
		}
		if st.Mode&unix.S_IFMT == unix.S_IFREG && unix.Access(at, unix.X_OK) == nil {
			return path, nil
		}
		failed = unix.EACCES
	}
	return "", failed
}

// files are those of a session: the program's, and ours.
type files struct {
	child  []*os.File // fds 0, 1 and 2
	theirs []*os.File // of child, closed after the start
	in     *os.File   // nil: the program has no input
	out    *os.File
	err    *os.File // nil: stderr goes where stdout goes
}

func (f *files) closeTheirs() {
	for _, file := range f.theirs {
		file.Close()
	}
}

func (f *files) closeOurs() {
	for _, file := range []*os.File{f.in, f.out, f.err} {
		if file != nil {
			file.Close()
		}
	}
}

// pipe makes a pipe; the child gets the end that it reads, or writes.
func (f *files) pipe(reads bool) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	theirs, ours := w, r
	if reads {
		theirs, ours = r, w
	}
	f.child, f.theirs = append(f.child, theirs), append(f.theirs, theirs)
	return ours, nil
}

// open opens what a session needs. After an error the caller closes what is open.
func (f *files) open(spec *sessionSpec) (err error) {
	if spec.Pty != nil {
		return f.openTerminal(spec)
	}
	if spec.Null {
		err = f.noInput()
	} else {
		f.in, err = f.pipe(true)
	}
	if err == nil {
		f.out, err = f.pipe(false)
	}
	if err == nil && spec.Err != 0 {
		f.err, err = f.pipe(false)
	} else if err == nil {
		f.child = append(f.child, f.child[1])
	}
	return err
}

func (f *files) openTerminal(spec *sessionSpec) error {
	master, slave, err := process.OpenTerminal(true)
	if err != nil {
		return err
	}
	f.in, f.out = master, master
	f.theirs = append(f.theirs, slave)
	_, size, err := spec.terminal()
	if err == nil {
		err = setSize(master, size)
	}
	if err == nil && spec.Null {
		err = f.noInput()
	} else {
		f.child = append(f.child, slave)
	}
	f.child = append(f.child, slave, slave)
	return err
}

// noInput gives the child an input that is at its end: a pipe, where a tree has no /dev/null.
func (f *files) noInput() error {
	r, err := os.Open(os.DevNull)
	if err != nil {
		w := (*os.File)(nil)
		if r, w, err = os.Pipe(); err != nil {
			return err
		}
		w.Close()
	}
	f.child, f.theirs = append(f.child, r), append(f.theirs, r)
	return nil
}

// start starts the session's program.
func (p *session) start() error {
	if runtime.GOOS == "linux" {
		if err := p.s.guard.need(); err != nil {
			return err // nothing is started without a guard
		}
	}
	run := p.spec.program()
	if p.spec.Module != "" {
		if !copyModules[p.spec.Module] {
			return &refusal{TypeNoPython,
				fmt.Sprintf("this context is a Go program, without Python: it has no module %q", p.spec.Module)}
		}
		exe, err := guardProgram()
		if err != nil {
			return err
		}
		run.path, run.argv = exe, []string{copyWord}
	}
	if p.spec.Agent != 0 { // of a listener that the engine has asked for before
		l := p.s.listenerAt(key{p.key.src, handleOf(p.spec.Agent)})
		if l == nil {
			return fmt.Errorf("no listener has the handle %d", p.spec.Agent)
		}
		run.env["SSH_AUTH_SOCK"] = l.path
	}
	f := &files{}
	err := f.open(p.spec)
	sys := &syscall.SysProcAttr{Setsid: true}
	if p.spec.Pty != nil {
		run.env["TERM"], _, _ = p.spec.terminal()
		sys.Setctty, sys.Ctty = true, 1
	}
	proc := (*os.Process)(nil)
	if err == nil {
		proc, err = run.start(f.child, sys)
	}
	f.closeTheirs()
	if err != nil {
		f.closeOurs()
		return err
	}
	p.s.groups.Store(proc.Pid, true)
	p.outputs = append(p.outputs, newOutput(p, f.out, p.key))
	if f.err != nil {
		p.outputs = append(p.outputs, newOutput(p, f.err, key{p.key.src, handleOf(p.spec.Err)}))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.proc, p.stdin, p.isTTY = proc, f.in, p.spec.Pty != nil
	return nil
}
