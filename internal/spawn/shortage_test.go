package spawn

import (
	"errors"
	"os"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/methods"
)

// Whatever step of a start lacks a descriptor, the start fails with the system's error, and leaves
// none open.
func TestStartWithoutDescriptors(t *testing.T) {
	prompt := []methods.Prompt{{Needle: []byte("password: ")}}
	for name, plan := range map[string]methods.Plan{
		"pipes":    {Argv: []string{"true"}, Method: "local"},
		"terminal": {Argv: []string{"true"}, Method: "ssh", TTY: true, Prompts: prompt},
		"terminal for stdin": {Argv: []string{"true"}, Method: "su", TTY: true, Wait: true,
			Prompts: prompt},
		"terminal, no prompt": {Argv: []string{"true"}, Method: "sudo", TTY: true},
	} {
		t.Run(name, func(t *testing.T) {
			before := census().fds
			failed := 0
			for n := lowestFree(t); ; n++ {
				p, err := startWith(t, n, plan)
				if err == nil {
					p.Close()
					break
				}
				failed++
				var failure *connect.Error
				if !errors.As(err, &failure) || !errors.Is(err, syscall.EMFILE) ||
					!errors.Is(err, connect.ErrExhausted) {
					t.Errorf("limit %d: got %v, want a connect.Error with ErrExhausted and EMFILE", n, err)
				}
				if after := census().fds; after != before {
					t.Fatalf("limit %d: %d fds are open after the failure, want %d", n, after, before)
				}
			}
			if failed < 6 {
				t.Errorf("got %d failed starts, want one for each descriptor that is needed", failed)
			}
		})
	}
}

func lowestFree(t *testing.T) int {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return int(f.Fd())
}

// startWith starts a plan in a process that may have n files.
func startWith(t *testing.T, n int, plan methods.Plan) (*Process, error) {
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(n), Max: before.Max})
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &before)
	return Start(t.Context(), plan, Options{})
}

// Other things that a start lacks are told as what they are.
func TestStartFailures(t *testing.T) {
	for _, c := range []struct {
		cause       error
		text        string
		kind, again error
	}{
		{syscall.EAGAIN, "fork/exec /bin/sh: resource temporarily unavailable", connect.ErrExhausted,
			syscall.EAGAIN},
		{syscall.ENOMEM, "fork/exec /bin/sh: cannot allocate memory", connect.ErrExhausted,
			syscall.ENOMEM},
		{syscall.ENFILE, "open stdin: pipe2: too many open files in system", connect.ErrExhausted,
			syscall.ENFILE},
		{syscall.ENOENT, methods.NoTerminal + "open /dev/ptmx: no such file or directory",
			connect.ErrTTYRequired, syscall.ENOENT},
		{syscall.ENOSPC, methods.NoTerminal + "open /dev/ptmx: no space left on device",
			connect.ErrTTYRequired, syscall.ENOSPC},
		{syscall.ENXIO, methods.NoTerminal + "open /dev/ptmx: no such device or address",
			connect.ErrTTYRequired, syscall.ENXIO},
		{syscall.EACCES, "fork/exec /bin/sh: permission denied", connect.ErrStart, syscall.EACCES},
	} {
		got := methods.Classify("local",
			methods.Failure{What: methods.WhatExec, Text: c.text, Err: c.cause})
		if !errors.Is(got, c.kind) || !errors.Is(got, c.again) {
			t.Errorf("%s: got %v (kind %v), want kind %v and cause %v", c.text, got, got.Kind, c.kind,
				c.again)
		}
		if !slices.Contains([]error{connect.ErrExhausted, connect.ErrTTYRequired}, c.kind) {
			continue
		}
		// which has no error but the text
		hop := methods.Classify("local", methods.Failure{What: methods.WhatExec, Text: c.text})
		if !errors.Is(hop, c.kind) {
			t.Errorf("%s, from a hop: got kind %v, want %v", c.text, hop.Kind, c.kind)
		}
	}
}
