package engine

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/mitogen-go/mitogen/internal/methods"
)

// What this machine lacks is told from what a server says.
func TestErrorsOfThisMachine(t *testing.T) {
	socket := func(err error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("socket", err)}
	}
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{socket(syscall.EMFILE), true},
		{socket(syscall.ENFILE), true},
		{socket(syscall.ENOBUFS), true},
		{&exec.Error{Name: "ssh", Err: exec.ErrNotFound}, true},
		{&fs.PathError{Op: "open", Path: "key", Err: syscall.ENOENT}, true},
		{socket(syscall.ECONNREFUSED), false},
		{socket(syscall.EHOSTUNREACH), false},
		{io.EOF, false},
		{context.Canceled, false},
		{errors.New("Permission denied (publickey)."), false},
	} {
		if got := ofThisMachine(tt.err); got != tt.want {
			t.Errorf("%v: got %v, want %v", tt.err, got, tt.want)
		}
		f := methods.Failure{What: methods.WhatExec, Text: tt.err.Error(), Err: tt.err}
		if err := methods.Classify("ssh", f); !errors.Is(err, tt.err) || !errors.Is(err, err.Kind) {
			t.Errorf("%v: got %v, which isn't it", tt.err, err)
		}
	}
}
