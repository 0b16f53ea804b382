package sshmux

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/lab"
)

// socketDir is short enough for a socket.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "mux")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// The real program's masters.
func TestDial(t *testing.T) {
	l := lab.Need(t)
	path := filepath.Join(socketDir(t), "c")
	argv := []string{"ssh", "-F", l.Config, "-S", path}
	if Alive(t.Context(), append(argv, "-O", "check", "mito"), nil) {
		t.Error("alive before it is there")
	}
	master := exec.Command(argv[0], append(argv[1:], "-M", "-N", "mito")...)
	if err := master.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		master.Process.Signal(syscall.SIGTERM)
		master.Wait()
	}()
	for end := time.Now().Add(10 * time.Second); !Alive(t.Context(),
		append(argv, "-O", "check", "mito"), nil); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no master")
		}
	}
	for range 3 {
		c, err := Dial(t.Context(), path, l.Host, l.Port)
		if err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(c)
		if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "SSH-2.0-") {
			t.Errorf("first line: got %q, %v; want SSH-2.0-", line, err)
		}
		if _, err := io.WriteString(c, "nonsense\r\n"); err != nil {
			t.Error(err)
		}
		if err := c.CloseWrite(); err != nil {
			t.Error(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			t.Error(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := Dial(t.Context(), path, "127.0.0.1", 1); !errors.Is(err, ErrRefused) {
		t.Errorf("a closed port: %v", err)
	}
	if _, err := Dial(t.Context(), path+"x", "127.0.0.1", 1); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no socket: %v", err)
	}
}

// Masters that aren't.
func TestBadMasters(t *testing.T) {
	hello := words(nil, 8, msgHello, version)
	for name, c := range map[string]struct {
		says []byte
		want string
	}{
		"nothing":         {nil, "EOF"},
		"half a size":     {[]byte{0, 0}, "unexpected EOF"},
		"too large":       {words(nil, 1<<30), "a reply of 1073741824 bytes"},
		"short hello":     {words(nil, 4, msgHello), "another version"},
		"other version":   {words(nil, 8, msgHello, 3), "another version"},
		"no reply":        {hello, "EOF"},
		"short reply":     {words(hello, 4, replyOpened), "a reply to nothing"},
		"another's reply": {words(hello, 8, replyOpened, 7), "a reply to nothing"},
		"unknown":         {words(hello, 8, 99, 1), "unknown reply 0x63"},
		"denied":          {words(hello, 8, replyDenied, 1), "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(socketDir(t), "c")
			l, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func(says []byte) {
				if c, err := l.Accept(); err == nil {
					io.CopyN(io.Discard, c, 42)
					c.Write(says)
					c.Close()
				}
			}(c.says)
			if _, err := Dial(t.Context(), path, "host", 22); err == nil ||
				!strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// A master that says nothing is given up.
func TestSilentMaster(t *testing.T) {
	path := filepath.Join(socketDir(t), "c")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Dial(ctx, path, "host", 22); err == nil {
		t.Error("connected")
	}
	slow := filepath.Join(socketDir(t), "slow")
	if err := os.WriteFile(slow, []byte("#!/bin/sh\nexec sleep 30\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if Alive(ctx, []string{slow}, nil) {
		t.Error("alive")
	}
}
