package goctx

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// firstKept is the lowest number of the files that this package keeps.
const firstKept = 3

// standard are the files that the process was started with.
type standard struct {
	in, out *os.File
	err     *os.File // the old stderr: last words
}

// takeOver moves the stream off fds 0, 1 and 2. It prints EC0, and gives fd 0 an end.
func takeOver() (*standard, error) {
	os.Unsetenv("PYTHONSAFEPATH") // which each context is started with
	closeOwn()
	if unix.Getpgrp() != unix.Getpid() {
		unix.Setpgid(0, 0) // it fails where the process leads a session, and so its group
	}
	f := &standard{}
	for fd, file := range []**os.File{&f.in, &f.out, &f.err} {
		kept, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, firstKept)
		if err != nil {
			return nil, os.NewSyscallError("dup", err)
		}
		if fd < 2 {
			if err := unix.SetNonblock(kept, true); err != nil {
				return nil, os.NewSyscallError("fcntl", err)
			}
		}
		*file = os.NewFile(uintptr(kept), "stream")
	}
	if err := noInput(); err != nil {
		return nil, err
	}
	_, err := f.out.WriteString("\n" + wire.GoReady + "\n")
	return f, err
}

// ownFile is the variable with the number of the file that this program was started from, where a
// shell has received it (boot.FallbackLine).
const ownFile = "MITO_FD"

// closeOwn closes that file, which programs would inherit. Some shells have closed it already, and
// its number is another file's then.
func closeOwn() {
	defer os.Unsetenv(ownFile)
	var own, st unix.Stat_t
	fd, err := strconv.Atoi(os.Getenv(ownFile))
	if err == nil && unix.Stat("/proc/self/exe", &own) == nil && unix.Fstat(fd, &st) == nil &&
		st.Dev == own.Dev && st.Ino == own.Ino {
		unix.Close(fd)
	}
}

// noInput gives fd 0 what is at its end: a pipe, because a tree may have no /dev/null.
func noInput() error {
	fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		var p [2]int
		if err := unix.Pipe(p[:]); err != nil {
			return os.NewSyscallError("pipe", err)
		}
		unix.Close(p[1])
		fd = p[0]
	}
	defer unix.Close(fd)
	return os.NewSyscallError("dup2", dup2(fd, 0))
}

// head reads the configuration. rest reads the bytes behind it.
func (f *standard) head() (cfg wire.GoHead, rest io.Reader, err error) {
	r := bufio.NewReaderSize(f.in, wire.MaxGoHead)
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return cfg, nil, fmt.Errorf("read head: more than %d bytes", wire.MaxGoHead)
	}
	if err != nil {
		return cfg, nil, fmt.Errorf("read head: %w", err)
	}
	cfg, err = wire.ParseGoHead(line)
	return cfg, r, err
}

// tie has the process end with its parent, and its last words reach that: a crash of the Go
// runtime is written to the old stderr too.
func (f *standard) tie() error {
	if err := debug.SetCrashOutput(f.err, debug.CrashOptions{}); err != nil {
		return fmt.Errorf("keep stderr: %w", err)
	}
	return arm(int(f.err.Fd()))
}

// say writes last words, and returns err.
func (f *standard) say(err error) error {
	fmt.Fprintln(f.err, "mitogen:", err)
	return err
}
