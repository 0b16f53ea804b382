package life

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/report"
)

var cuts = flag.Int("life.cuts", 0, "links to cut; 0: 2, or 100 with MITOGEN_SOAK set")

// TestLinks has three hosts in a row, each reached by the host before alone. A link is cut at any
// moment, without a word to any process. Contexts behind it are lost by name, the rest works on,
// and no process stays on either side. When the link is back there is a way again.
func TestLinks(t *testing.T) { links(t, 0) }

// TestSlowLinks is TestLinks with links that take their time.
func TestSlowLinks(t *testing.T) { links(t, 60*time.Millisecond) }

func links(t *testing.T, rtt time.Duration) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	n := lab.NewNet(t, 3, rtt)
	rounds := *cuts
	if rounds == 0 {
		rounds = 2
		if os.Getenv("MITOGEN_SOAK") != "" {
			rounds = 100
		}
	}
	if c, err := net.DialTimeout("tcp", n.Address(2)+":22", 300*time.Millisecond); err == nil {
		c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		banner := make([]byte, 4)
		if got, _ := c.Read(banner); got > 0 {
			t.Fatal("the second host is reached without the first")
		}
		c.Close()
	}
	t.Logf("seed %d", *seed)
	if rtt > 0 {
		tripsOver(t, n, rtt)
	}
	for i := range uint64(rounds) {
		rnd := rand.New(rand.NewPCG(*seed+i, 2))
		cutLink(t, n, rnd, rtt, fmt.Sprintf("mito-links-%d-%d", os.Getpid(), i))
	}
}

// tripsOver demands that links slow down what passes, and that a call passes all of them once.
func tripsOver(t *testing.T, n *lab.Net, rtt time.Duration) {
	e, err := mitogen.New(mitogen.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	c, err := e.Connect(t.Context(), strings.Join(n.Names, "+"),
		mitogen.ConnectOptions{Options: connect.Options{SSH: connect.SSHOptions{ConfigFile: n.Config}}})
	if err != nil {
		t.Fatal(err)
	}
	start, before := time.Now(), c.Stats().RoundTrips
	if _, err := mitogen.Call[int](t.Context(), c, "os:getpid"); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 3*rtt {
		t.Errorf("a call over three links took %v, less than three times %v", took, rtt)
	}
	if n := c.Stats().RoundTrips - before; n != 1 {
		t.Errorf("%d round trips", n)
	}
}

func cutLink(t *testing.T, n *lab.Net, rnd *rand.Rand, rtt time.Duration, mark string) {
	files := fstest.MapFS{"states.py": {Data: []byte(states)}}
	e, err := mitogen.New(mitogen.Options{Path: []fs.FS{files}, Heartbeat: 2 * time.Second,
		Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer killMarked(mark)
	defer e.Close()
	o := mitogen.ConnectOptions{Options: connect.Options{SSH: connect.SSHOptions{ConfigFile: n.Config,
		Native: rnd.IntN(2) == 0}, Timeout: 15 * time.Second,
		Python: []string{"env " + markVar + "=" + mark + " python3"}}}
	link := 1 + rnd.IntN(3)
	// connecting over three links takes some 40
	after := time.Duration(rnd.IntN(700))*time.Millisecond + time.Duration(rnd.IntN(40))*rtt
	what := fmt.Sprintf("seed %d: link %d cut after %v, native %v", *seed, link, after, o.SSH.Native)
	targets := []string{n.Names[0], strings.Join(n.Names[:2], "+") + "+sudo",
		strings.Join(n.Names, "+") + "+local"}
	contexts := make([]*mitogen.Context, len(targets))
	ends := make([]chan error, len(targets))
	for i, target := range targets {
		c, err := e.Start(target, o)
		if err != nil {
			t.Fatal(err)
		}
		contexts[i], ends[i] = c, make(chan error, 1)
		go func() {
			_, err := mitogen.Call[any](t.Context(), c, "states:sleep")
			ends[i] <- err
		}()
	}
	time.Sleep(after)
	if err := n.Cut(link); err != nil {
		t.Fatal(err)
	}
	for i := range targets {
		if i < link-1 {
			continue
		}
		select {
		case err := <-ends[i]:
			if !told(err) {
				t.Errorf("%s: %s ends with %v (%T)", what, targets[i], err, err)
			}
			if lost := (*report.LostError)(nil); errors.As(err, &lost) && lost.Context != targets[i] {
				t.Errorf("%s: %s is called %s", what, targets[i], lost.Context)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("%s: the call of %s waits for ever", what, targets[i])
		}
	}
	for i := range link - 1 {
		if _, err := contexts[i].Ping(t.Context()); err != nil {
			t.Errorf("%s: ping %s: got error %v, want none", what, targets[i], err)
		}
	}
	if err := n.Mend(link); err != nil {
		t.Fatal(err)
	}
	if c, err := e.Connect(t.Context(), targets[1], o); err != nil {
		t.Errorf("%s: again: %v", what, err)
	} else if _, err := c.Ping(t.Context()); err != nil {
		t.Errorf("%s: again: %v", what, err)
	}
	if err := e.Close(); err != nil {
		t.Errorf("%s: close the engine: got error %v, want none", what, err)
	}
	for end := time.Now().Add(15 * time.Second); len(procs(mark)) > 0; {
		if time.Now().After(end) {
			t.Fatalf("%s: left: %s", what, strings.Join(marked(mark), "\n"))
		}
		time.Sleep(50 * time.Millisecond)
	}
}
