package aside

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"

	_ "github.com/mitogen-go/mitogen/internal/testenv"
)

// stuck is a slog.Handler that blocks until it is freed.
type stuck struct {
	slog.Handler
	begun chan struct{} // takes one value for the first record
	free  chan struct{}
}

func (h stuck) Handle(ctx context.Context, r slog.Record) error {
	select {
	case h.begun <- struct{}{}:
	default:
	}
	<-h.free
	return h.Handler.Handle(ctx, r)
}

// Records that a blocked handler leaves waiting are bounded, and those dropped are told of.
func TestRecordsThatWait(t *testing.T) {
	var group sync.WaitGroup
	var text strings.Builder
	h := stuck{slog.NewTextHandler(&text, nil), make(chan struct{}, 1), make(chan struct{})}
	a := &Queue{Group: &group}
	log := slog.New(NewLog(h, a))
	const more = 500
	log.Info("first")
	<-h.begun // the queue is empty now
	for range maxWaiting + more {
		log.Info("x")
	}
	a.mu.Lock()
	waiting := len(a.queue)
	a.mu.Unlock()
	if waiting != maxWaiting {
		t.Errorf("%d records wait, want %d", waiting, maxWaiting)
	}
	close(h.free)
	group.Wait()
	log.Info("last")
	group.Wait()
	told := strings.Count(text.String(), "msg=x")
	if told != maxWaiting {
		t.Errorf("%d records were handled, want %d", told, maxWaiting)
	}
	if !strings.Contains(text.String(), `msg="log records dropped" count=500`) ||
		!strings.HasSuffix(strings.TrimSpace(text.String()), "msg=last") {
		t.Errorf("the end of the log is %q", text.String()[max(0, text.Len()-300):])
	}
}

// Records of a level that the handler doesn't want take no room of other records while it blocks,
// and are handled once it wants them.
func TestUnwantedRecordsTakeNoRoom(t *testing.T) {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelDebug - 4, slog.LevelInfo} {
		var group sync.WaitGroup
		var text strings.Builder
		var wanted slog.LevelVar
		wanted.Set(slog.LevelWarn)
		inner := slog.NewTextHandler(&text, &slog.HandlerOptions{Level: &wanted})
		h := stuck{inner, make(chan struct{}, 1), make(chan struct{})}
		a := &Queue{Group: &group}
		log := slog.New(NewLog(h, a))
		if level != slog.LevelDebug { // of which the handler is asked by itself
			log.Log(t.Context(), level, "unwanted")
			group.Wait()
		}
		log.Warn("first")
		<-h.begun
		for range 2 * maxWaiting {
			log.Log(t.Context(), level, "unwanted")
		}
		log.Warn("last")
		close(h.free)
		group.Wait()
		wanted.Set(level)
		log.Log(t.Context(), level, "now")
		group.Wait()
		if got := text.String(); strings.Count(got, "msg=") != 3 || !strings.Contains(got, "msg=last") ||
			!strings.Contains(got, "msg=now") {
			t.Errorf("level %v: got %.300q, want the records first, last and now", level, got)
		}
	}
}
