package engine

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

// recorder keeps records.
type recorder struct{ all *[]slog.Record }

func (recorder) Enabled(context.Context, slog.Level) bool { return true }
func (r recorder) Handle(_ context.Context, rec slog.Record) error {
	*r.all = append(*r.all, rec)
	return nil
}
func (r recorder) WithAttrs([]slog.Attr) slog.Handler { return r }
func (r recorder) WithGroup(string) slog.Handler      { return r }

// No handler is given text that could act on a terminal.
func TestLogIsPrintable(t *testing.T) {
	const bad = "a\x1b]0;x\x07\u009b\u202eb\x9b\rc"
	const want = `a\x1b]0;x\x07\u009b\u202eb\x9b\x0dc`
	var records []slog.Record
	log := slog.New(printableLog{recorder{&records}})
	log.With(slog.String("with", bad)).
		WithGroup("g").
		Warn(bad+"\nnext", slog.String("text", bad+"\n"), slog.Any("error", errors.New(bad)),
			slog.Int("n", 1), slog.String(tracebackKey, bad+"\nnext"))
	if len(records) != 1 {
		t.Fatalf("got %d records, want 1", len(records))
	}
	var text strings.Builder
	text.WriteString(records[0].Message)
	records[0].Attrs(func(a slog.Attr) bool { text.WriteString("|" + a.String()); return true })
	wanted := want + "\nnext|text=" + want + `\x0a|error=` + want + "|n=1|traceback=" + want + "\nnext"
	if got := text.String(); got != wanted {
		t.Errorf("got %+q\nwant %+q", got, wanted)
	}
	var out bytes.Buffer
	log = slog.New(printableLog{slog.NewJSONHandler(&out, nil)})
	log.With(slog.String("with", bad)).Info("x")
	if got := out.String(); strings.ContainsAny(got, "\x1b\u009b\u202e") ||
		!strings.Contains(got, `\\u202e`) {
		t.Errorf("attribute of With: got %+q", got)
	}
}
