package engine

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
)

// asked returns the first frame of the next session, behind the modules that it needs.
func (f *fake) asked() wire.Frame {
	for {
		if g := f.next(); g.Handle == wire.Session {
			return g
		}
	}
}

// A session waits for nothing: it travels right behind the boot, and a context that ends with it
// needn't be told.
func TestSessionCostsNoRoundTrip(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	c, err := e.Start("local", ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := Command{Args: []string{"echo"}, Stdout: &out, Stdin: strings.NewReader("in")}
	ended := later(func() int { status, _ := c.Programs.Exec(within(t), cmd, true); return status })
	f := <-fakes
	g := f.asked()
	if !bytes.Contains(g.Payload, []byte("last")) {
		t.Errorf("got %q, want that the context ends with it", g.Payload)
	}
	f.hello(1)
	if in := f.expect(1, wire.Session); in.Kind != wire.Item || string(in.Payload) != "in" {
		t.Errorf("got %v %q, want the input", in.Kind, in.Payload)
	}
	f.expect(1, wire.Session) // its end
	f.reply(g, wire.Item, []byte("out"))
	f.reply(g, wire.Data, encode(t, pyvalue.Tuple{int64(3), int64(0)}))
	if status := soon(t, ended); status != 3 || out.String() != "out" {
		t.Errorf("got status %d, %q, want 3, out", status, out.String())
	}
	c.Release()
	f.quiet(1)
	f.exit(f.Failure())
	<-c.Done()
	if !errors.Is(c.Err(), ErrClosed) {
		t.Errorf("got %v, want %v", c.Err(), ErrClosed)
	}
}

// A context that other callers use, or that is a hop, doesn't end with a session.
func TestSessionIsNotTheLast(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	c, f := connected(t, e, fakes)
	if _, err := e.Start("local+sudo", ConnectOptions{}); err != nil {
		t.Fatal(err)
	}
	go c.Programs.Exec(within(t), Command{Args: []string{"echo"}}, true)
	if g := f.asked(); bytes.Contains(g.Payload, []byte("last")) {
		t.Errorf("got %q, want nothing about the context's end", g.Payload)
	}
}

// What a hostile context answers is an error, or bounded.
func TestHostileSession(t *testing.T) {
	for name, answer := range map[string][]byte{
		"nothing":      nil,
		"no pickle":    []byte("no pickle"),
		"a number":     encode(t, int64(1)),
		"three":        encode(t, pyvalue.Tuple{int64(1), int64(0), int64(0)}),
		"large status": encode(t, pyvalue.Tuple{int64(1 << 40), int64(0)}),
		"small status": encode(t, pyvalue.Tuple{int64(-1 << 40), int64(0)}),
	} {
		t.Run(name, func(t *testing.T) {
			e, fakes := fakeEngine(t, Options{})
			c, f := connected(t, e, fakes)
			s, err := c.Programs.Session(within(t), SessionSpec{Args: []string{"x"}})
			if err != nil {
				t.Fatal(err)
			}
			f.reply(f.asked(), wire.Data, answer)
			if end, err := s.End(within(t)); err == nil {
				t.Errorf("got %+v, want an error", end)
			}
			if _, err := s.Stderr.Read(make([]byte, 1)); err == nil {
				t.Error("stderr has no end")
			}
		})
	}
}

// A session that is closed once its program has ended has ended as the program has, for an audit
// log, too.
func TestSessionClosedAfterItsEnd(t *testing.T) {
	for name, tt := range map[string]struct {
		answer pyvalue.Tuple
		status int
	}{
		"well":   {pyvalue.Tuple{int64(0), int64(0)}, 0},
		"failed": {pyvalue.Tuple{int64(3), int64(0)}, 3},
		"signal": {pyvalue.Tuple{int64(-9), int64(1)}, 137},
	} {
		e, fakes := fakeEngine(t, Options{})
		c, f := connected(t, e, fakes)
		// nothing else waits for its end
		s, err := c.Programs.session(within(t), SessionSpec{Args: []string{"x"}})
		if err != nil {
			t.Fatal(err)
		}
		s.told = func(status int, err error) {
			if status != tt.status || err != nil {
				t.Errorf("%s: the log is told %d, %v, want %d", name, status, err, tt.status)
			}
		}
		f.reply(f.asked(), wire.Data, encode(t, tt.answer))
		<-s.Done()
		s.Close()
		s.tell()
		if end, err := s.End(within(t)); end.Shell() != tt.status || err != nil {
			t.Errorf("%s: got %+v, %v, want status %d", name, end, err, tt.status)
		}
	}
}

// A session ends with its ctx, whatever its context does about it, which stays.
func TestSessionCancelled(t *testing.T) {
	e, fakes := fakeEngine(t, Options{Grace: 1})
	c, f := connected(t, e, fakes)
	ctx, cancel := context.WithCancel(within(t))
	failed := later(func() error {
		_, err := c.Programs.Exec(ctx, Command{Args: []string{"x"}}, false)
		return err
	})
	f.asked()
	cancel()
	if g := f.expect(1, wire.Session); string(g.Payload) != "sTERM" {
		t.Errorf("got %q, want sTERM", g.Payload)
	}
	if g := f.expect(1, wire.Session); g.Kind != wire.Error {
		t.Errorf("got %v, want an end", g.Kind)
	}
	if err := soon(t, failed); !errors.Is(err, ErrCancelled) || c.Err() != nil {
		t.Errorf("got %v, context %v, want %v and none", err, c.Err(), ErrCancelled)
	}
}
