package mitogen_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen"
)

// writer returns the process that has a file of dir open for a copy that goes on; 0: none has.
func writer(dir string) int {
	open, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, fd := range open {
		name, err := os.Readlink(fd)
		if err == nil && strings.HasPrefix(name, filepath.Join(dir, ".mitogen-")) {
			pid, _ := strconv.Atoi(strings.Split(fd, "/")[2])
			return pid
		}
	}
	return 0
}

// A copy that is given up while a busy machine doesn't let its process run leaves nothing.
func TestCopyGivenUpWhileStopped(t *testing.T) {
	c := connected(t, newEngine(t, mitogen.Options{}), mitogen.ConnectOptions{})
	dir := t.TempDir()
	src, dest := filepath.Join(dir, "src"), filepath.Join(dir, "dest")
	if err := os.WriteFile(src, bytes.Repeat([]byte("large"), 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dest, 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(limited(t))
	defer cancel()
	stopped := 0
	_, err := c.Put(ctx, dest, mitogen.CopyOptions{Progress: func(mitogen.CopyTotals) {
		if stopped == 0 {
			if stopped = writer(dest); stopped != 0 {
				syscall.Kill(stopped, syscall.SIGSTOP)
				cancel()
			}
		}
	}}, src)
	if err == nil || stopped == 0 {
		t.Fatalf("got %v, with process %d stopped, want the copy given up", err, stopped)
	}
	time.Sleep(time.Second) // longer than a program has that is no copy
	if err := syscall.Kill(stopped, syscall.SIGCONT); err != nil {
		t.Fatalf("continue process %d: %v, want it to be there", stopped, err)
	}
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		entries, err := os.ReadDir(dest)
		if err == nil && len(entries) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("got %v, %v in the directory, want nothing", entries, err)
		}
	}
}
