package engine

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/boot"
	_ "github.com/mitogen-go/mitogen/internal/testenv"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/secret"
)

// What goes ahead of a login's stdin: everything that is known by then, but for what may be secret.
func TestAhead(t *testing.T) {
	for _, tt := range []struct {
		name   string
		ssh    connect.SSHOptions
		target string
		call   []any // arguments; nil: there is no call
		want   []wire.Handle
	}{
		{"login", connect.SSHOptions{}, "web1", nil, nil},
		{"login and sudo", connect.SSHOptions{}, "web1+sudo", nil,
			[]wire.Handle{wire.LoadModule, wire.LoadModule, wire.Connect}},
		{"a call's arguments may be secret", connect.SSHOptions{}, "web1+sudo", []any{"x"},
			[]wire.Handle{wire.LoadModule, wire.LoadModule, wire.Connect}},
		{"or are not", connect.SSHOptions{CallsAhead: true}, "web1+sudo", []any{"x"},
			[]wire.Handle{wire.LoadModule, wire.LoadModule, wire.Connect, wire.Call}},
		{"or are marked", connect.SSHOptions{CallsAhead: true}, "web1", []any{secret.Secret("x")}, nil},
	} {
		for _, mark := range []string{boot.EC1, boot.EC0} {
			t.Run(tt.name+", "+mark, func(t *testing.T) {
				e, fakes := fakeEngine(t, Options{aheadPatience: patience})
				c, err := e.Start(tt.target, ConnectOptions{Options: connect.Options{SSH: tt.ssh}})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tt.call != nil {
					c.Calls.Go(ctx, "os:getenv", tt.call, nil, false)
				} else {
					go c.Connected(ctx)
				}
				f := <-fakes
				if !slices.Contains(f.plan.Argv, "SendEnv="+boot.AheadVariable+" "+boot.AheadData) {
					t.Errorf("argv %q", f.plan.Argv)
				}
				all, err := boot.AheadText(f.plan.Env)
				image, _ := inflate(boot.Image())
				_, frames, found := bytes.Cut(all, image)
				if err != nil || !found {
					t.Fatalf("%d bytes, %v", len(all), err)
				}
				sc := wire.NewScanner(bytes.NewReader(frames))
				for _, h := range tt.want {
					if g, err := sc.Next(); err != nil || g.Handle != h {
						t.Fatalf("%v, %v, want %v", g, err, h)
					}
				}
				if g, err := sc.Next(); err == nil {
					t.Errorf("besides %v", g)
				}

				f.out.WriteString("a banner\n" + mark + "\n")
				if mark == boot.EC0 {
					for _, h := range tt.want {
						if g := f.next(); g.Handle != h {
							t.Fatalf("again: %v, want %v", g, h)
						}
					}
				}
				if tt.call != nil && !slices.Contains(tt.want, wire.Call) {
					f.expect(c.id, wire.Call)
				}
				sees := func() bool {
					f.mu.Lock()
					defer f.mu.Unlock()
					return bytes.Contains(f.boot, boot.Image())
				}
				if mark == boot.EC0 {
					waitFor(t, "the image on stdin", sees)
					return
				}
				waitFor(t, "the mark to be seen", func() bool {
					e.mu.Lock()
					defer e.mu.Unlock()
					return c.root.figures.count.phases.EC0 > 0
				})
				time.Sleep(5 * time.Millisecond)
				if sees() {
					t.Error("the image is on stdin too")
				}
			})
		}
	}
}

// The data of a service may be a user's file: it doesn't go ahead, nor do the frames behind it.
func TestDataDoesNotGoAhead(t *testing.T) {
	e, fakes := fakeEngine(t, Options{aheadPatience: patience})
	c, err := e.Start("web1", ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Supply.Load(t.Context(), "a file", []byte("zlib of a secret")); err != nil {
		t.Fatal(err)
	}
	f := <-fakes
	e.mu.Lock()
	frames := len(c.launch.ahead.frames)
	e.mu.Unlock()
	if frames > 0 {
		t.Errorf("%d bytes of frames", frames)
	}
	f.out.WriteString(boot.EC1 + "\n")
	if g := f.expect(c.id, wire.LoadModule); !bytes.Contains(g.Payload, []byte("zlib of a secret")) {
		t.Errorf("first module loaded: got payload %q, want the text given", g.Payload)
	}
}

// Without it, everything is on stdin at once.
func TestNoAhead(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	if _, err := e.Start("web1+sudo",
		ConnectOptions{Options: connect.Options{SSH: connect.SSHOptions{NoAhead: true}}}); err != nil {
		t.Fatal(err)
	}
	f := <-fakes
	f.connect(1)
	if text := strings.Join(append(f.plan.Env, f.plan.Argv...), " "); strings.Contains(text,
		boot.AheadVariable) {
		t.Errorf("command of the plan: got %q, want no %s", text, boot.AheadVariable)
	}
}
