package cli

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lmittmann/tint"

	"github.com/mitogen-go/mitogen/internal/connect"
)

// newLogger returns a logger to standard error for records of the engine and of Python's logging.
func (s *state) newLogger() *slog.Logger {
	w := uiWriter{s.ui}
	return slog.New(&logHandler{w: w, ending: &s.ending, next: tint.NewTextHandler(w, &tint.Options{
		Level:       s.opt.level(),
		TimeFormat:  time.TimeOnly,
		NoColor:     s.ui.plain || !s.ui.errTTY,
		ReplaceAttr: cleanAttr,
	})})
}

// uiWriter writes whole lines to standard error.
type uiWriter struct{ ui *ui }

func (w uiWriter) Write(b []byte) (int, error) { return w.ui.write(w.ui.err, b) }

// cleanAttr makes text from contexts safe for a terminal.
func cleanAttr(_ []string, a slog.Attr) slog.Attr {
	switch v := a.Value.Any().(type) {
	case string:
		a.Value = slog.StringValue(connect.CleanLine(v))
	case error:
		a.Value = slog.StringValue(connect.CleanLine(v.Error()))
	}
	return a
}

// logHandler prints tracebacks below their record, as lines.
type logHandler struct {
	w      io.Writer
	next   slog.Handler
	ending *atomic.Bool // contexts are being ended: what their shells say to that is no news
}

// hopKey goes with lines that a program like ssh has printed.
const hopKey = "hop"

const tracebackKey = "traceback"

func (h *logHandler) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

func (h *logHandler) WithAttrs(as []slog.Attr) slog.Handler {
	return &logHandler{h.w, h.next.WithAttrs(as), h.ending}
}

func (h *logHandler) WithGroup(name string) slog.Handler {
	return &logHandler{h.w, h.next.WithGroup(name), h.ending}
}

// Handle writes the record with the message made safe, which tint doesn't hand to cleanAttr in all cases.
func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	traceback, hop := "", false
	plain := slog.NewRecord(r.Time, r.Level, connect.CleanLine(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		hop = hop || a.Key == hopKey
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
	if err := h.next.Handle(ctx, plain); err != nil || traceback == "" {
		return err
	}
	text := strings.TrimRight(connect.Clean(traceback), "\n")
	_, err := io.WriteString(h.w, "    "+strings.ReplaceAll(text, "\n", "\n    ")+"\n")
	return err
}
