package engine

import (
	"context"
	"log/slog"

	"github.com/mitogen-go/mitogen/internal/printable"
)

// tracebackKey is the key of the only attribute that may have several lines.
const tracebackKey = "traceback"

// printableLog makes the text of all records safe for a terminal before another handler has them:
// what contexts, programs and servers say reaches a log only through it.
type printableLog struct{ slog.Handler }

// Handle passes a record on. Its message keeps its lines.
func (h printableLog) Handle(ctx context.Context, r slog.Record) error {
	safe := slog.NewRecord(r.Time, r.Level, printable.Text(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		safe.AddAttrs(printableAttr(a))
		return true
	})
	return h.Handler.Handle(ctx, safe)
}

// WithAttrs returns a handler that adds attributes to each record.
func (h printableLog) WithAttrs(as []slog.Attr) slog.Handler {
	safe := make([]slog.Attr, len(as))
	for i, a := range as {
		safe[i] = printableAttr(a)
	}
	return printableLog{h.Handler.WithAttrs(safe)}
}

// WithGroup returns a handler that puts attributes into a group.
func (h printableLog) WithGroup(name string) slog.Handler {
	return printableLog{h.Handler.WithGroup(name)}
}

// printableAttr returns a with safe text.
func printableAttr(a slog.Attr) slog.Attr {
	text, isText := a.Value.Any().(string)
	if err, ok := a.Value.Any().(error); ok {
		text, isText = err.Error(), true
	}
	switch {
	case a.Key == tracebackKey:
		a.Value = slog.StringValue(printable.Text(text))
	case isText:
		a.Value = slog.StringValue(printable.Line(text))
	}
	return a
}
