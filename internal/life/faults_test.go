package life

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/report"
)

var schedules = flag.Int("life.schedules", 0,
	"random faults on a tree of 30; 0: 10 schedules, or 1000 with MITOGEN_SOAK set")

// faultPatience limits the time until a loss is noticed. A stopped process is noticed after some
// heartbeats of 3 s, later under load.
const faultPatience = 40 * time.Second

// TestFaults does random harm to a tree of 30 contexts, while it is built and while it works.
// Contexts behind the harm are lost, by name, and no other context. No call is left waiting, and no
// process stays.
func TestFaults(t *testing.T) {
	n := *schedules
	if n == 0 {
		n = 10
		if testing.Short() {
			n = 4
		}
		if os.Getenv("MITOGEN_SOAK") != "" {
			n = 1000
		}
	}
	t.Logf("seed %d", *seed)
	queue := make(chan uint64)
	go func() {
		defer close(queue)
		for i := range uint64(n) {
			queue <- *seed + i
		}
	}()
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			for s := range queue {
				schedule(t, s)
			}
		})
	}
	workers.Wait()
}

// node is a context of the tree, with a call under way.
type node struct {
	c      *mitogen.Context
	parent *node
	state  string
	hit    bool // killed, stopped or closed
	err    error
	done   chan struct{} // closed with the call's end
}

// behind says whether n, or a hop before it, was hit.
func (n *node) behind() bool {
	for ; n != nil; n = n.parent {
		if n.hit {
			return true
		}
	}
	return false
}

// tree builds 3 roots with 3 children each, with 2 leaves each.
func tree(e *mitogen.Engine, rnd *rand.Rand, mark string) (all []*node, err error) {
	methods := []string{"local", "fork"}
	add := func(parent *node) *node {
		o := mitogen.ConnectOptions{Options: connect.Options{Python: []string{"env " + markVar + "=" +
			mark + " python3"}}}
		n := &node{parent: parent, done: make(chan struct{})}
		target := "local"
		if parent != nil {
			o.Via, target = parent.c, methods[rnd.IntN(len(methods))]
		}
		var e2 error
		if n.c, e2 = e.Start(target, o); e2 != nil {
			err = errors.Join(err, e2)
			return n
		}
		all = append(all, n)
		return n
	}
	for range 3 {
		root := add(nil)
		for range 3 {
			hop := add(root)
			add(hop)
			add(hop)
		}
	}
	return all, err
}

func schedule(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	mark := fmt.Sprintf("mito-faults-%d-%d", os.Getpid(), seed)
	var story []string
	fail := func(format string, args ...any) {
		t.Errorf("seed %d: %s\n%s", seed, fmt.Sprintf(format, args...), strings.Join(story, "\n"))
	}
	files := fstest.MapFS{"states.py": {Data: []byte(states)}}
	e, err := mitogen.New(mitogen.Options{Path: []fs.FS{files}, Heartbeat: 3 * time.Second,
		Grace: 300 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer killMarked(mark)
	all, err := tree(e, rnd, mark)
	if err != nil {
		fail("%v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for _, n := range all {
		n.state = []string{"idle", "idle", "sleep", "loop"}[rnd.IntN(4)]
		go func() {
			defer close(n.done)
			_, n.err = mitogen.Call[any](ctx, n.c, "states:"+n.state)
		}()
	}
	if rnd.IntN(2) == 0 { // else in the middle of connecting
		for _, n := range all {
			n.c.Info(ctx)
		}
	}
	time.Sleep(rand.N(200 * time.Millisecond))
	for range 1 + rnd.IntN(3) {
		story = append(story, harm(all[rnd.IntN(len(all))], rnd))
		time.Sleep(time.Duration(rnd.IntN(50)) * time.Millisecond)
	}
	settle(all, fail)
	lost := 0
	for _, n := range all {
		if n.behind() {
			lost++
		}
	}
	t.Logf("seed %d: %s; %d of %d lost", seed, strings.Join(story, "; "), lost, len(all))
	cancel()
	began := time.Now()
	if err := e.Close(); err != nil {
		fail("close: %v", err)
	}
	if took := time.Since(began); took > patience {
		fail("closing took %v", took)
	}
	for end := time.Now().Add(patience); len(procs(mark)) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			fail("left: %s", strings.Join(marked(mark), "\n"))
			return
		}
	}
}

// harm hits one context, and says how.
func harm(n *node, rnd *rand.Rand) string {
	ctx, cancel := context.WithTimeout(context.Background(),
		time.Duration(rnd.IntN(100))*time.Millisecond)
	defer cancel()
	info, err := n.c.Info(ctx)
	what := rnd.IntN(3)
	if err != nil {
		what = 2 // its process is not known yet
	}
	switch what {
	case 0:
		syscall.Kill(info.PID, syscall.SIGKILL)
	case 1:
		syscall.Kill(info.PID, syscall.SIGSTOP)
	default:
		if err == nil || n.hops() {
			// Close doesn't close a context that is used as a hop. A context that isn't up is no more to be
			// seen.
			return fmt.Sprintf("%s (%d): nothing", n.c.Name(), n.c.ID())
		}
		n.hit = true
		go n.c.Close()
		return fmt.Sprintf("%s (%d): closed", n.c.Name(), n.c.ID())
	}
	n.hit = true
	return fmt.Sprintf("%s (%d), pid %d: %s", n.c.Name(), n.c.ID(), info.PID,
		[]string{"killed", "stopped"}[what])
}

// hops says whether n has children.
func (n *node) hops() bool { return strings.Count(n.c.Name(), "+") < 2 }

// settle waits until every call that must end has ended, and checks how.
func settle(all []*node, fail func(format string, args ...any)) {
	deadline := time.After(faultPatience)
	for _, n := range all {
		if !n.behind() && n.state != "idle" {
			continue
		}
		select {
		case <-n.done:
		case <-deadline:
			fail("%s (%d): its call %s is still waiting", n.c.Name(), n.c.ID(), n.state)
			return
		}
		switch {
		case !n.behind() && n.err != nil:
			fail("%s (%d): nobody has hit it: %v", n.c.Name(), n.c.ID(), n.err)
		case n.behind() && n.err != nil && !told(n.err):
			fail("%s (%d): %v (%T)", n.c.Name(), n.c.ID(), n.err, n.err)
		}
	}
	for _, n := range all {
		if !n.behind() {
			if n.c.Err() != nil {
				fail("%s (%d) is gone: %v", n.c.Name(), n.c.ID(), n.c.Err())
			}
			continue
		}
		select {
		case <-n.c.Done():
		case <-deadline:
			fail("%s (%d) isn't reported as lost", n.c.Name(), n.c.ID())
			return
		}
		if err := n.c.Err(); !told(err) {
			fail("%s (%d): lost because of %v", n.c.Name(), n.c.ID(), err)
		}
	}
}

// told says whether an error reports a lost context.
func told(err error) bool {
	var lost *report.LostError
	var failed *connect.Error
	return errors.As(err, &lost) && lost.Context != "" && lost.Hop != "" ||
		errors.As(err, &failed) && failed.Hop != "" || errors.Is(err, mitogen.ErrClosed)
}
