package muxserve

import (
	"context"
	"errors"
	"fmt"
	"testing"

	_ "github.com/mitogen-go/mitogen/internal/testenv"
)

// forwarder is a backend that tells of forwardings.
type forwarder struct {
	backend
	told chan string
}

func (b *forwarder) Forward(
	_ context.Context,
	target string,
	f Forward,
	ended func(error),
) (int, func(), error) {
	if f.To == "lost:1" {
		ended(errors.New("target is lost"))
	}
	if f.To == "refused:1" {
		return 0, nil, errors.New("refused")
	}
	b.told <- fmt.Sprintf("begin %s %c %s %s", target, f.Kind, f.Listen, f.To)
	return 4242, func() { b.told <- "end " + f.Listen }, nil
}

func (b *forwarder) Cancel(_ string, f Forward) error {
	b.told <- "cancel " + f.Listen
	return nil
}

// Forwardings are asked for in every form, and end as the client says.
func TestForwards(t *testing.T) {
	for _, tt := range []struct {
		f    Forward
		want string
	}{
		{Forward{'L', "localhost:80", "db:1"}, "begin web L localhost:80 db:1"},
		{Forward{'L', "/tmp/a", "/tmp/b"}, "begin web L /tmp/a /tmp/b"},
		{Forward{'R', "[::1]:0", "db:1"}, "begin web R [::1]:0 db:1"},
		{Forward{'R', "*:80", ""}, "begin web R *:80 "},
		{Forward{'D', "localhost:80", ""}, "begin web D localhost:80 "},
	} {
		b := &forwarder{told: make(chan string, 10)}
		near, done := served(t, b)
		m, err := Open(near, "web")
		if err != nil {
			t.Fatal(err)
		}
		wantPort := 0
		if tt.f.Listen == "[::1]:0" {
			wantPort = 4242
		}
		if port, err := m.Forward(tt.f); err != nil || port != wantPort {
			t.Errorf("%v: got %d, %v, want port %d", tt.f, port, err, wantPort)
		}
		if got := within(t, b.told); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
		if err := m.ask(message(uint32(msgHold), uint32(request))); err != nil {
			t.Fatal(err)
		}
		near.Close()
		within(t, done)
		if got := within(t, b.told); got != "end "+tt.f.Listen {
			t.Errorf("got %q, want the end of %v", got, tt.f)
		}
	}
}

// Forwardings end with a client that has named its target and asks for nothing more, also if it has
// gone before one has begun. Those of OpenSSH's ssh stay.
func TestForwardsWithoutSession(t *testing.T) {
	for _, tt := range []struct {
		name, target string
		slow, end    bool
	}{
		{"begun", "web", false, true},
		{"slow", "web", true, true},
		{"OpenSSH's", "", false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := &forwarder{told: make(chan string, 10)}
			if tt.slow {
				b.told = make(chan string)
			}
			near, done := served(t, b)
			m, err := Open(near, tt.target)
			if err != nil {
				t.Fatal(err)
			}
			ask := message(uint32(msgOpenForward), uint32(request), uint32(forwardDynamic),
				"localhost", uint32(80), "", uint32(0))
			if _, err := near.Write(ask); err != nil {
				t.Fatal(err)
			}
			if !tt.slow {
				if _, err := readMessage(m.c); err != nil {
					t.Fatal(err)
				}
			}
			near.Close()
			within(t, b.told) // its beginning
			if tt.end {
				if got := within(t, b.told); got != "end localhost:80" {
					t.Errorf("got %q, want the end", got)
				}
			}
			within(t, done)
			if n := len(b.told); n > 0 {
				t.Errorf("told %q more, want nothing", <-b.told)
			}
		})
	}
}

// If a forwarding ends by itself, that is the error of who holds it.
func TestForwardLost(t *testing.T) {
	b := &forwarder{told: make(chan string, 10)}
	near, _ := served(t, b)
	m, err := Open(near, "web")
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"db:1", "lost:1", "lost:1"} {
		if _, err := m.Forward(Forward{'R', "localhost:80", to}); err != nil {
			t.Fatal(err)
		}
	}
	held := make(chan error, 1)
	go func() { held <- m.Hold() }()
	if err := within(t, held); err == nil || err.Error() != "target is lost" {
		t.Errorf("got %v, want that the target is lost", err)
	}
}

// What is refused is an error, and so is what can't be read; nothing is begun then.
func TestForwardsRefused(t *testing.T) {
	b := &forwarder{told: make(chan string, 10)}
	near, _ := served(t, b)
	m, err := Open(near, "web")
	if err != nil {
		t.Fatal(err)
	}
	denied := (*DeniedError)(nil)
	if _, err := m.Forward(Forward{'L', "localhost:80", "refused:1"}); !errors.As(err, &denied) {
		t.Errorf("got %v, want that it is denied", err)
	}
	for name, b := range map[string][]byte{
		"kind":        message(uint32(9), "", uint32(1), "a", uint32(1)),
		"port":        message(uint32(1), "", uint32(70000), "a", uint32(1)),
		"to port":     message(uint32(1), "", uint32(1), "a", uint32(0)),
		"too short":   message(uint32(1), "", uint32(1), "a"),
		"long string": message(uint32(1), uint32(1<<30), uint32(1)),
	} {
		if f, err := readForward(&fields{rest: b[4:]}); err == nil {
			t.Errorf("%s: got %v, want an error", name, f)
		}
	}
}

// cold is a backend whose targets never get ready.
type cold struct {
	forwarder
	asked, given chan bool
}

func (b *cold) Check(ctx context.Context, r *Request) error {
	if r.Ready {
		b.asked <- true
		<-ctx.Done()
		b.given <- true
		return ctx.Err()
	}
	return nil
}

// A target is connected for no client that has gone, whether the client waits for it or wants a
// forwarding.
func TestColdTargets(t *testing.T) {
	for name, ask := range map[string]func(*Client) error{
		"ready": (*Client).Ready,
		"forward": func(m *Client) error {
			_, err := m.Forward(Forward{'L', "localhost:80", "db:1"})
			return err
		},
	} {
		b := &cold{asked: make(chan bool, 2), given: make(chan bool, 2)}
		b.told = make(chan string, 2)
		near, done := served(t, b)
		m, err := Open(near, "web")
		if err != nil {
			t.Fatal(err)
		}
		go ask(m)
		within(t, b.asked)
		near.Close()
		within(t, b.given)
		within(t, done)
		if len(b.told) > 0 {
			t.Errorf("%s: got %s, want no forwarding", name, <-b.told)
		}
	}
}
