package stdio

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	_ "github.com/mitogen-go/mitogen/internal/testenv"
	"github.com/mitogen-go/mitogen/report"
)

// failing takes the first write and refuses those that follow.
type failing struct {
	strings.Builder
	err error
}

func (f *failing) Write(b []byte) (int, error) {
	if f.Len() > 0 {
		return 0, f.err
	}
	return f.Builder.Write(b)
}

// The first error of a Writer is told once, stays, and ends the writing.
func TestSinkKeepsItsError(t *testing.T) {
	var ws Writers
	told := 0
	f := &failing{err: errors.New("full")}
	w := ws.Sink("web1", report.WriteStdout, f, func(error) { told++ })
	for i, want := range []error{nil, f.err, f.err} {
		_, err := w.Write([]byte("x"))
		var failed *report.StreamError
		if !errors.Is(err, want) ||
			want != nil && (!errors.As(err, &failed) || failed.Context != "web1") {
			t.Errorf("write %d: got %v, want %v of web1", i, err, want)
		}
	}
	if told != 1 || f.String() != "x" {
		t.Errorf("got %d errors told and %q written, want 1 and x", told, f.String())
	}
	if none := ws.Sink("web1", report.WriteStdout, nil, nil); none != io.Discard {
		t.Errorf("a nil Writer: got %T, want io.Discard", none)
	}
}

// alone counts the goroutines that are in its Write.
type alone struct{ in, most atomic.Int32 }

func (a *alone) Write(b []byte) (int, error) {
	if n := a.in.Add(1); n > a.most.Load() {
		a.most.Store(n)
	}
	defer a.in.Add(-1)
	return len(b), nil
}

// A Writer that several contexts have is called by one goroutine at a time.
func TestOneWriterAtATime(t *testing.T) {
	var ws Writers
	var group sync.WaitGroup
	a := &alone{}
	for range 8 {
		w := ws.Sink("web1", report.WriteStdout, a, nil)
		group.Go(func() {
			for range 100 {
				w.Write([]byte("x"))
			}
		})
	}
	group.Wait()
	if n := a.most.Load(); n != 1 {
		t.Errorf("got %d goroutines in Write, want 1", n)
	}
	if len(ws.busy) != 0 {
		t.Errorf("got %d Writers kept, want none", len(ws.busy))
	}
}

// Stop gives up a Read of a pipe, which takes nothing of what comes later.
func TestStopGivesUpARead(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	r.Fd() // which makes it a file without deadlines, as os.Stdin is
	var got []byte
	taken := make(chan struct{})
	f := Feed(t.Context(), r, func(_ context.Context, b []byte) error {
		got = append(got, b...)
		close(taken)
		return nil
	}, func(err error) { t.Errorf("got %v, want no error", err) })
	w.WriteString("first")
	<-taken
	if err := f.Stop(1 << 40); err != nil || string(got) != "first" {
		t.Errorf("got %q, %v, want first", got, err)
	}
	w.WriteString("later")
	b := make([]byte, 16)
	if n, err := r.Read(b); string(b[:n]) != "later" {
		t.Errorf("what is left: got %q, %v, want later", b[:n], err)
	}
}

// Stop says so if a Read can't be given up.
func TestStopWaitsInVain(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	f := Feed(t.Context(), struct{ io.Reader }{r},
		func(context.Context, []byte) error { return nil }, func(error) {})
	if err := f.Stop(0); !errors.Is(err, ErrInUse) {
		t.Errorf("got %v, want %v", err, ErrInUse)
	}
}
