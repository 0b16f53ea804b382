//go:build !mitogen_agent

package goctx

import (
	"context"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// SendLog has what a program logs by slog go to the engine, once Main has made it a context. A
// program that registers functions calls it before Main; the agent has none, and doesn't link slog.
func SendLog() {
	startLog = func(s *served) {
		slog.SetDefault(slog.New(&logHandler{s: s, level: levelOf(s.cfg.LogLevel)}))
	}
}

// logHandler sends records of slog to the engine. Attributes become part of the message.
type logHandler struct {
	s      *served
	level  slog.Level
	attrs  string // of WithAttrs, as they stand behind a message
	prefix string // of WithGroup
}

// levelOf returns the slog level of a level of Python.
func levelOf(python int) slog.Level { return slog.Level(math.Round(float64(python-20) * 0.4)) }

// pythonLevel is the reverse of levelOf.
func pythonLevel(l slog.Level) int { return max(1, 20+int(math.Round(float64(l)*2.5))) }

func (h *logHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }

func (h *logHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	b.WriteString(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		appendAttr(&b, h.prefix, a)
		return true
	})
	when := r.Time
	if when.IsZero() {
		when = time.Now()
	}
	h.s.log(pythonLevel(r.Level), "go", b.String(), "", when)
	return nil
}

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var b strings.Builder
	b.WriteString(h.attrs)
	for _, a := range attrs {
		appendAttr(&b, h.prefix, a)
	}
	with := *h
	with.attrs = b.String()
	return &with
}

func (h *logHandler) WithGroup(name string) slog.Handler {
	with := *h
	if name != "" {
		with.prefix += name + "."
	}
	return &with
}

// appendAttr writes " key=value", as slog.TextHandler does.
func appendAttr(b *strings.Builder, prefix string, a slog.Attr) {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, member := range v.Group() {
			appendAttr(b, prefix, member)
		}
		return
	}
	if a.Equal(slog.Attr{}) {
		return
	}
	b.WriteString(" " + quoted(prefix+a.Key) + "=" + quoted(v.String()))
}

// quoted returns s, in quotes where it would not be one word.
func quoted(s string) string {
	odd := func(r rune) bool {
		return r == '"' || r == '=' || unicode.IsSpace(r) || !unicode.IsPrint(r)
	}
	if s == "" || strings.ContainsFunc(s, odd) {
		return strconv.Quote(s)
	}
	return s
}
