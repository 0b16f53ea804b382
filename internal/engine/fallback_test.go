package engine

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/gobinary"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/stream"
	"github.com/mitogen-go/mitogen/report"
)

// A program is sent as gzip, or as it is.
func TestFormsOfBinary(t *testing.T) {
	want := bytes.Repeat([]byte("a program "), 10_000)
	b := gobinary.Pack(want, "", gobinary.Platform{})
	r, err := gzip.NewReader(bytes.NewReader(bytes.Join(b.Gzip(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
		t.Errorf("gzip: got %d bytes, %v, want %d", len(got), err, len(want))
	}
	parts, err := b.Whole()
	if got := bytes.Join(parts, nil); err != nil || !bytes.Equal(got, want) {
		t.Errorf("whole: got %d bytes, %v, want %d", len(got), err, len(want))
	}
}

// pieces takes what is written, and counts the times that it was limited.
type pieces struct {
	process
	bytes.Buffer
	limited int
	fails   error
}

func (p *pieces) Limit(time.Duration) { p.limited++ }
func (p *pieces) Close() error        { return nil }
func (p *pieces) Write(b []byte) (int, error) {
	if p.fails != nil {
		return 0, p.fails
	}
	return p.Buffer.Write(b)
}

// The time of a connect begins anew while the program passes.
func TestFallbackIsBusy(t *testing.T) {
	p := &pieces{}
	f := &fallback{c: &Context{stream: stream.New()}, timeout: time.Hour, stdin: p, proc: p}
	if f.busy() {
		t.Error("before: got busy, want not")
	}
	if err := f.write(make([]byte, 3*sendPiece-1)); err != nil || p.Len() != 3*sendPiece-1 {
		t.Errorf("got %d bytes, %v, want %d", p.Len(), err, 3*sendPiece-1)
	}
	if first, then := f.busy(), f.busy(); !first || then {
		t.Errorf("got busy %v and then %v, want true and false", first, then)
	}
	if p.limited != 3 {
		t.Errorf("got %d new limits, want 3", p.limited)
	}
	p.fails = errors.New("closed")
	if err := f.write([]byte("x")); !errors.Is(err, p.fails) {
		t.Errorf("got %v, want %v", err, p.fails)
	}
	if none := (*fallback)(nil); none.busy() || none.started() {
		t.Error("no fallback: got busy or started, want neither")
	}
}

// What a shell prints before its line is noise, and bounded, wherever reads cut it.
func TestFallbackTakes(t *testing.T) {
	for size := range 20 {
		f := &fallback{c: &Context{stream: stream.New()}, sending: true}
		text, noise := "gzip: x\n\nMITO-EC0\n\xf1MG", ""
		there := false
		for rest := text; rest != ""; {
			n := min(size+1, len(rest))
			b, up := f.take([]byte(rest[:n]))
			noise, rest, there = noise+string(b), rest[n:], up
			if up {
				noise += rest
				break
			}
		}
		if want := "gzip: x\n\xf1MG"; !there || noise != want {
			t.Errorf("by %d: got %v, %q, want true, %q", size+1, there, noise, want)
		}
	}
	f := &fallback{}
	long := strings.Repeat("x", 3*maxShellLine)
	got := 0
	for i := range len(long) {
		b, _ := f.take([]byte(long[i : i+1]))
		got += len(b)
	}
	if len(f.line) > maxShellLine || got+len(f.line) != len(long) {
		t.Errorf("got %d bytes kept and %d told, want at most %d kept of %d", len(f.line), got,
			maxShellLine, len(long))
	}
	if _, ok := boot.ParseShell(string(f.line)); ok {
		t.Error("got a shell, want none")
	}
}

// A context that is up is not ended by the time of its connect.
func TestTunnelProcessLimit(t *testing.T) {
	p := &tunnelProcess{dialed: dialed{conn: silentConn{}, done: make(chan struct{})}}
	p.Limit(time.Hour)
	first := p.timer
	p.Limit(time.Hour)
	if first.Stop() {
		t.Error("a new limit: the old one was still to come, want it stopped")
	}
	p.Connected()
	if p.timer.Stop() {
		t.Error("connected: the limit was still to come, want it stopped")
	}
	last := p.timer
	if p.Limit(time.Hour); p.timer != last {
		t.Error("a limit behind it: got a new one, want none")
	}
	p.reason = &report.CallError{Text: "no such program"}
	if f := p.Failure(); f.What != methods.WhatExec || f.Text != "no such program" {
		t.Errorf("got %v, want that the program can't be started", f)
	}
}

// silentConn has said nothing.
type silentConn struct{ Conn }

func (silentConn) Text() string { return "" }
