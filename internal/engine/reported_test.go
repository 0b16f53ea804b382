package engine

import (
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/report"
)

// The reason of a loss stays, however long what its connection said is, and has no secret.
func TestReasonOfALoss(t *testing.T) {
	e, _ := fakeEngine(t, Options{})
	e.dialogues.mask.Add("hunter2-become")
	long := strings.Repeat("line\n", 2*methods.TextLimit/5)
	for _, said := range []string{
		"exit: hunter2-become", "exit: hunter2-become\nlast line hunter2-become\n",
		"exit: hunter2-become\n" + long + "last line hunter2-become\n",
	} {
		why, text := e.dialogues.reported(said)
		if !strings.HasPrefix(why, "exit: ") || strings.Contains(why+text, "hunter2") {
			t.Errorf("%d bytes: why %q, text %q", len(said), why, text)
		}
		if strings.Contains(said, "last") != strings.Contains(text, "last line") ||
			len(text) > methods.TextLimit {
			t.Errorf("%d bytes: text %q", len(said), text)
		}
	}
}

// What a person says to a question of yes or no is no secret.
func TestNoIsNoSecret(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	c, _ := connected(t, e, fakes)
	c.hopStart.say([]byte("no\n"))
	if got := e.dialogues.mask.Hide("no route to host"); got != "no route to host" {
		t.Errorf("got %q", got)
	}
}

// After Close nothing happens that would have to be told.
func TestAuditAfterClose(t *testing.T) {
	a := newAuditor(func(report.Event) error { return nil }, func(error) {})
	a.close()
	if err := a.before(t.Context(), report.Event{Kind: report.EventExec}); err == nil {
		t.Error("got no error, want one")
	}
}
