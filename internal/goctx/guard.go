package goctx

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// guardWord is the first argument of a copy of this program that guards a context.
const guardWord = "mitogen:guard"

// maxGuards bounds the guards of one context: where each is killed at once, there is none.
const maxGuards = 100

// A guard is a process that ends what the context has started, and removes its sockets, once the
// context has ended, however that came. It is a copy of this program that holds nothing but a pipe
// from the context, and has a session of its own. On Linux what the context starts has a mark, by
// which the guard finds it; elsewhere the guard removes sockets only.
type guard struct {
	mu      sync.Mutex // protects following
	w       *os.File   // ours of the pipe; nil: there is no guard
	mark    string
	made    int                 // guards so far
	sockets map[string]socketAt // by path: what a new guard is told
}

// socketAt is a socket in the file system.
type socketAt struct {
	dev, ino uint64
	dir      string // made for it; "": none was
}

// need has a guard run. The error is why there is none.
func (g *guard) need() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.w != nil {
		return nil
	}
	return g.startLocked()
}

// startLocked starts a guard, and has another one follow it if it is killed.
func (g *guard) startLocked() error {
	if g.made >= maxGuards {
		return nil // something does not let it live
	}
	if g.mark == "" {
		micros := time.Now().UnixMicro() % 1e12
		g.mark = strconv.FormatInt((4_000_000+int64(os.Getpid()))*1e12+micros, 10)
		bearMark(g.mark)
	}
	exe, err := guardProgram()
	if err != nil {
		return fmt.Errorf("start a guard: %w", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start a guard: %w", err)
	}
	defer r.Close()
	argv := []string{guardWord, g.mark, strconv.Itoa(unix.Getpgrp())}
	p, err := os.StartProcess(exe, argv, &os.ProcAttr{Dir: "/", Env: os.Environ(),
		Files: []*os.File{r, r, r}, Sys: &syscall.SysProcAttr{Setsid: true}})
	if err != nil {
		w.Close()
		return fmt.Errorf("start a guard: %w", err)
	}
	g.w = w
	g.made++
	for path, at := range g.sockets {
		io.WriteString(w, at.line(path))
	}
	go g.follow(p, w)
	return nil
}

// follow waits for the end of a guard.
func (g *guard) follow(p *os.Process, w *os.File) {
	p.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	w.Close()
	g.w = nil
	g.startLocked()
}

// guardProgram returns the path of this program, whatever stands at its name now.
func guardProgram() (string, error) {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe", nil
	}
	return os.Executable()
}

// remember has a socket removed when the context has ended.
func (g *guard) remember(path string, at socketAt) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.sockets == nil {
		g.sockets = map[string]socketAt{}
	}
	g.sockets[path] = at
	if g.w != nil {
		io.WriteString(g.w, at.line(path))
	}
}

// forget is the reverse of remember.
func (g *guard) forget(path string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.sockets, path)
	if g.w != nil {
		io.WriteString(g.w, path+"\x00\x00\x00")
	}
}

// line tells a guard of a socket: path, numbers and directory, each with a zero byte behind it.
func (at socketAt) line(path string) string {
	return fmt.Sprintf("%s\x00%d %d\x00%s\x00", path, at.dev, at.ino, at.dir)
}

// remove removes a socket, if it still stands there, and the directory that was made for it.
func (at socketAt) remove(path string) {
	if now, err := socketOf(path); err == nil && now.dev == at.dev && now.ino == at.ino {
		os.Remove(path)
	}
	if at.dir != "" {
		unix.Rmdir(at.dir)
	}
}

// socketOf returns the numbers of what stands at a path.
func socketOf(path string) (socketAt, error) {
	var st unix.Stat_t
	err := unix.Lstat(path, &st)
	return socketAt{dev: uint64(st.Dev), ino: st.Ino}, err
}

// guardLife is the life of the guard: args are the mark and the process group of the context. It
// ends with this process.
func guardLife(args []string) {
	defer os.Exit(0)
	if len(args) != 2 {
		return
	}
	group, err := strconv.Atoi(args[1])
	if err != nil || group <= 1 {
		return
	}
	for path, at := range heard(os.Stdin) {
		at.remove(path)
	}
	if runtime.GOOS == "linux" {
		unix.Kill(-group, unix.SIGKILL)
		sweep(args[0])
	}
}

// heard returns the sockets that are left at the end of the pipe.
func heard(r io.Reader) map[string]socketAt {
	left := map[string]socketAt{}
	var rest []byte
	for buf := make([]byte, 64<<10); ; {
		n, err := r.Read(buf)
		rest = note(left, append(rest, buf[:n]...))
		if err != nil {
			return left
		}
	}
}

// note notes in left what b tells, and returns what is not whole yet.
func note(left map[string]socketAt, b []byte) (rest []byte) {
	for {
		fields := bytes.SplitN(b, []byte{0}, 4)
		if len(fields) < 4 {
			return b
		}
		path := string(fields[0])
		at := socketAt{dir: string(fields[2])}
		if n, _ := fmt.Sscanf(string(fields[1]), "%d %d", &at.dev, &at.ino); n == 2 {
			left[path] = at
		} else {
			delete(left, path)
		}
		b = fields[3]
	}
}

// sweep kills all that bears a mark until no more is found.
func sweep(mark string) {
	seen := map[string]bool{strconv.Itoa(os.Getpid()): true}
	for more := true; more; {
		more = false
		all, _ := filepath.Glob("/proc/[0-9]*")
		for _, dir := range all {
			pid := filepath.Base(dir)
			if seen[pid] {
				continue
			}
			limits, err := os.ReadFile(dir + "/limits")
			if err != nil || !strings.Contains(string(limits), mark) {
				continue
			}
			if n, err := strconv.Atoi(pid); err == nil {
				unix.Kill(n, unix.SIGKILL)
			}
			more, seen[pid] = true, true
		}
	}
}
