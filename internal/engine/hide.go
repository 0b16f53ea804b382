package engine

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"unsafe"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/report"
)

// Secrets are hidden in two places that no text can get round: where a context is given up (its
// error), and where something is logged. What programs of the user's print is not touched.

// conceal has a plan's answers, and the secrets of its ssh, hidden.
func (d *dialogues) conceal(plan methods.Plan, ssh connect.SSHOptions) {
	for _, a := range plan.Answers() {
		d.mask.Add(unsafe.String(unsafe.SliceData(a), len(a))) // no copy
	}
	d.mask.Add(string(ssh.Password))
	d.mask.Add(string(ssh.Passphrase))
}

// concealed has what answer returns hidden, unless it is a plain yes or no.
func (d *dialogues) concealed(answer connect.PromptFunc) connect.PromptFunc {
	if answer == nil {
		return nil
	}
	return func(ctx context.Context, p connect.Prompt) (string, error) {
		text, err := answer(ctx, p)
		if p.Kind != connect.PromptHostKey && p.Kind != connect.PromptConfirm &&
			p.Kind != connect.PromptNotice {
			d.mask.Add(text)
		}
		return text, err
	}
}

// hide returns err without secrets: err itself if there are none.
func (d *dialogues) hide(err error) error {
	switch err := err.(type) {
	case nil:
		return nil
	case *connect.Error:
		if text := d.mask.Hide(err.Text); text != err.Text {
			masked := *err
			masked.Text = text
			return methods.Explain(&masked)
		}
		return err
	case *report.LostError:
		why, text := d.mask.Hide(err.Reason), d.mask.Hide(err.Text)
		if why != err.Reason || text != err.Text {
			masked := *err
			masked.Reason, masked.Text = why, text
			return &masked
		}
		return err
	}
	if text := d.mask.Hide(err.Error()); text != err.Error() {
		return &maskedError{e: d.e, text: text, err: err}
	}
	return err
}

// A maskedError is an error whose text had a secret.
type maskedError struct {
	e    *Engine
	text string
	err  error
}

// Error returns the text without the secret.
func (m *maskedError) Error() string { return m.text }

// Is tells whether the error is, or wraps, target.
func (m *maskedError) Is(target error) bool { return errors.Is(m.err, target) }

// As finds a *connect.Error and a *report.LostError, without the secret.
func (m *maskedError) As(target any) bool {
	switch target := target.(type) {
	case **connect.Error:
		return as(m, target)
	case **report.LostError:
		return as(m, target)
	}
	return false
}

func as[E error](m *maskedError, target *E) bool {
	var inner E
	if !errors.As(m.err, &inner) {
		return false
	}
	masked, ok := m.e.dialogues.hide(inner).(E)
	if ok {
		*target = masked
	}
	return ok
}

// maskedLog is a slog.Handler that hides secrets.
type maskedLog struct {
	slog.Handler
	mask *methods.Mask
}

// Handle hides secrets in message and attributes.
func (h maskedLog) Handle(ctx context.Context, r slog.Record) error {
	masked := slog.NewRecord(r.Time, r.Level, h.mask.Hide(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		masked.AddAttrs(h.attr(a))
		return true
	})
	return h.Handler.Handle(ctx, masked)
}

// WithAttrs hides secrets in the attributes.
func (h maskedLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	masked := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		masked[i] = h.attr(a)
	}
	return maskedLog{h.Handler.WithAttrs(masked), h.mask}
}

// WithGroup keeps hiding.
func (h maskedLog) WithGroup(name string) slog.Handler {
	return maskedLog{h.Handler.WithGroup(name), h.mask}
}

// attr hides secrets in texts, in errors, and in groups of them. An error stays one, as far as it
// has no secret.
func (h maskedLog) attr(a slog.Attr) slog.Attr {
	v := a.Value.Resolve()
	switch v.Kind() {
	case slog.KindString:
		v = slog.StringValue(h.mask.Hide(v.String()))
	case slog.KindGroup:
		var all []slog.Attr
		for _, member := range v.Group() {
			all = append(all, h.attr(member))
		}
		v = slog.GroupValue(all...)
	case slog.KindAny:
		if text := v.String(); h.mask.Hide(text) != text {
			v = slog.StringValue(h.mask.Hide(text))
		}
	}
	return slog.Attr{Key: a.Key, Value: v}
}

// reported makes of what a hop says of a loss the reason, its first line, and the last lines of the
// connection. A secret may stand in both, so lines are told apart behind the mask, which gets no
// more than it can read quickly.
func (d *dialogues) reported(said string) (why, text string) {
	why, _, _ = strings.Cut(d.mask.Hide(said[:min(len(said), methods.TextLimit-1)]), "\n")
	from := max(0, len(said)-methods.TextLimit)
	text = d.mask.Hide(said[from:])
	if from <= strings.IndexByte(said+"\n", '\n') {
		_, text, _ = strings.Cut(text, "\n")
	}
	return oneLine(why), printable.Text(methods.PlainWords(text))
}
