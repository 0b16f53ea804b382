package cli

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lmittmann/tint"

	"github.com/mitogen-go/mitogen/internal/printable"
)

// newLogger returns a logger to standard error for records of the engine and of Python's logging.
func (s *state) newLogger() *slog.Logger {
	sink := &logSink{ui: s.ui}
	next := tint.NewTextHandler(&sink.record, &tint.Options{
		Level:       s.opt.level(),
		TimeFormat:  time.TimeOnly,
		NoColor:     s.ui.plain || !s.ui.errTTY,
		ReplaceAttr: cleanAttr,
	})
	several := func() bool { return len(s.opt.spots) != 1 } // a daemon has none
	return slog.New(&logHandler{sink: sink, ending: &s.ending, several: several, next: next})
}

// logSink writes a record and the traceback below it at once, so that nothing comes between them.
type logSink struct {
	ui     *ui
	mu     sync.Mutex // protects record
	record bytes.Buffer
}

// cleanAttr makes text from contexts safe for a terminal: all values but numbers, times and the
// like.
func cleanAttr(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.MessageKey { // which Handle has made printable, and tint doesn't quote
		return a
	}
	a.Key = logText(a.Key)
	switch a.Value.Kind() {
	case slog.KindBool,
		slog.KindDuration,
		slog.KindFloat64,
		slog.KindInt64,
		slog.KindTime,
		slog.KindUint64:
		return a
	}
	if _, ok := a.Value.Any().(slog.Level); ok {
		return a
	}
	a.Value = slog.StringValue(logText(a.Value.String()))
	return a
}

// logText makes text printable for tint, which would turn `\x1b` back into what it stands for where
// there are colours.
func logText(s string) string { return strings.ReplaceAll(printable.Line(s), `\x1b`, `\u001b`) }

// logHandler prints tracebacks below their record, as lines.
type logHandler struct {
	sink    *logSink
	next    slog.Handler
	ending  *atomic.Bool // contexts are being ended: what their shells say to that is no news
	several func() bool  // lines of different targets have to be told apart
}

// hopKey goes with lines that a program like ssh has printed.
const hopKey = "hop"

// Keys of what Python's logging says.
const (
	tracebackKey = "traceback"
	contextKey   = "context"
)

// Enabled tells whether records of a level are printed.
func (h *logHandler) Enabled(
	ctx context.Context,
	l slog.Level,
) bool {
	return h.next.Enabled(ctx, l)
}

// WithAttrs returns a handler that adds attributes to each record.
func (h *logHandler) WithAttrs(as []slog.Attr) slog.Handler {
	with := *h
	with.next = h.next.WithAttrs(as)
	return &with
}

// WithGroup returns a handler that puts attributes into a group.
func (h *logHandler) WithGroup(name string) slog.Handler {
	with := *h
	with.next = h.next.WithGroup(name)
	return &with
}

// Handle writes the record with the message made safe, which tint doesn't hand to cleanAttr in all
// cases. If there are several targets, the name of the record's target stands first: a message
// could hold text that looks like attributes.
func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	traceback, name, hop := "", "", false
	plain := slog.NewRecord(r.Time, r.Level, printable.Line(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		hop = hop || a.Key == hopKey
		if a.Key == contextKey || a.Key == hopKey {
			name = printable.Name(a.Value.String()) + ": "
		}
		if a.Key == tracebackKey && a.Value.Kind() == slog.KindString {
			traceback = a.Value.String()
		} else {
			plain.AddAttrs(a)
		}
		return true
	})
	if hop && h.ending.Load() {
		return nil
	}
	if !h.several() {
		name = ""
	}
	plain.Message = name + plain.Message
	return h.sink.write(ctx, h.next, plain, name, traceback)
}

// write prints a record, and below it a traceback, whose lines begin with an indent and the prefix.
func (s *logSink) write(
	ctx context.Context,
	h slog.Handler,
	r slog.Record,
	prefix, traceback string,
) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record.Reset()
	if err := h.Handle(ctx, r); err != nil {
		return err
	}
	for line := range linesOf(traceback) {
		s.record.WriteString("    " + prefix + printable.Line(line) + "\n")
	}
	_, err := s.ui.write(s.ui.err, s.record.Bytes())
	return err
}
