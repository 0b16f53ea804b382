package cli

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/internal/muxserve"
	"github.com/mitogen-go/mitogen/internal/portforward"
)

// The end of a forwarding leaves another that is called the same.
func TestForwardsOfOneName(t *testing.T) {
	var all withForwards
	first, second := &running{}, &running{}
	all.add("R 0", first)
	all.add("R 0", second)
	all.remove("R 0", first)
	if got := all.find("R 0"); got != second {
		t.Errorf("got %v, want the second forwarding", got)
	}
	all.remove("R 0", second)
	if got := all.find("R 0"); got != nil {
		t.Errorf("got %v, want none", got)
	}
}

// All forwardings of a target share one room, as they share its context.
func TestForwardsShareRoom(t *testing.T) {
	e, err := mitogen.New(mitogen.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	c, err := e.Connect(t.Context(), "local", mitogen.ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	h := &withHost{host: &host{context: c}, room: make(chan struct{}, 1)}
	b := &withBackend{f: &fleet{}, hosts: map[string]*withHost{"web": h}}
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "to"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	accepted := make(chan net.Conn, 2)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	var near []net.Conn
	for _, name := range []string{"a", "b"} {
		at := filepath.Join(dir, name)
		f := muxserve.Forward{Kind: portforward.Local, Listen: at, To: l.Addr().String()}
		_, stop, err := b.Forward(context.Background(), "web", f, func(error) {})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		c, err := net.Dial("unix", at)
		if err != nil {
			t.Fatal(err)
		}
		near = append(near, c)
		if name == "a" {
			defer (<-accepted).Close()
		}
	}
	select {
	case <-accepted:
		t.Error("got a second connection, want that it waits for room")
	case <-time.After(300 * time.Millisecond):
	}
	near[0].Close()
	near[1].Close()
}
