package engine

import (
	"fmt"
	"strings"
	"time"

	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/report"
)

// maxText bounds each text of a HELLO, in bytes.
const maxText = 255

// limits of what is decoded; the size is bounded by Options.MaxMessage already.
var limits = pickle.Limits{}

// hello is a context's first message.
type hello struct {
	Version        []any  `py:"version"`
	Implementation string `py:"implementation"`
	Platform       string `py:"platform"`
	UID            int    `py:"uid"`
	Hostname       string `py:"hostname"`
	PID            int    `py:"pid"`
	Executable     string `py:"executable"`
	Pickle         int    `py:"pickle"`
	Machine        string `py:"machine"`
	Functions      string `py:"functions"`
}

// parseHello reads a HELLO.
func parseHello(b []byte) (*hello, error) {
	h := &hello{}
	if len(b) > maxHello {
		return nil, fmt.Errorf("read HELLO: got %d bytes, want at most %d", len(b), maxHello)
	}
	if err := pickle.Unmarshal(b, helloLimits, h); err != nil {
		return nil, fmt.Errorf("read HELLO: %w", err)
	}
	if len(h.Version) < 3 {
		return nil, fmt.Errorf("read HELLO: got a version of %d parts, want 3", len(h.Version))
	}
	return h, nil
}

// helloLocked has a HELLO read and taken. The frame is valid until then.
func (t *traffic) helloLocked(c *Context, f *wire.Frame) {
	e := t.e
	payload := f.Payload
	t.afterLocked(func() {
		h, err := parseHello(payload)
		e.mu.Lock()
		defer e.unlock()
		switch {
		case c.err != nil:
		case err != nil:
			bad := methods.Failure{What: methods.WhatForeign, Text: "bad HELLO"}
			e.tree.loseLocked(c, failure(c, bad), true)
		default:
			t.upLocked(c, h)
		}
	})
}

// upLocked takes a context's first message.
func (t *traffic) upLocked(c *Context, h *hello) {
	e := t.e
	c.hello.info = report.Info{Implementation: oneLine(h.Implementation),
		Platform: oneLine(h.Platform), UID: h.UID, Hostname: oneLine(h.Hostname), PID: h.PID,
		Executable: oneLine(h.Executable)}
	for i := range c.hello.info.Version {
		n, _ := h.Version[i].(int64)
		c.hello.info.Version[i] = int(n)
	}
	if c.hello.mode = pickle.Proto4; !c.launch.golang.is.Load() {
		c.hello.mode = modeOf(c.hello.info.Version[0], h.Pickle)
	}
	c.hello.info.Machine, c.hello.info.Functions = oneLine(h.Machine), oneLine(h.Functions)
	c.hello.up = true
	// which hold what only its start needed
	c.hopStart.answerer, c.hopStart.talk, c.launch.prompt, c.launch.secrets = nil, nil, nil, nil
	c.figures.count.phases.Hello = time.Since(c.figures.began)
	if c.launch.proc != nil {
		c.launch.proc.Connected()
	}
	if c.hopStart.connect != 0 {
		t.applyLocked(e.router.Forget(c.hopStart.connect, nil))
	}
	e.audit.upLocked(c)
	close(c.hello.ready)
	if e.front != nil {
		e.front.upLocked(c)
	}
	c.life.shutdownLocked()
}

// modeOf returns the encoding of values for an interpreter.
func modeOf(version, protocol int) pickle.Mode {
	switch {
	case version < 3:
		return pickle.Proto2
	case protocol >= 4:
		return pickle.Proto4
	}
	return pickle.Proto3
}

func bounded(s string) string {
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	return s
}

// oneLine returns what a context says for people: short, on one line and safe for a terminal.
func oneLine(s string) string { return bounded(printable.Line(bounded(s))) }
