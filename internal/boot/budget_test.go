package boot

import (
	"bytes"
	"compress/zlib"
	"strings"
	"testing"
)

const (
	// commandBudget bounds the command that goes to the far end; to the words come eight quotes
	// for its login shell.
	commandBudget = 392

	// startBudget bounds head and image, which every context is sent. The aim is 7 KiB; the
	// rest is paid for threads that may be interrupted at any moment, for bundles, which save
	// round trips from the first call on, and for packages that are asked for more than
	// imports. Both sizes fit the first flight of a TCP connection (10 segments), so that the
	// difference costs no round trip.
	startBudget = 9 << 10

	// sessionBudget bounds what the first session of a context brings, compressed, besides the
	// guard.
	sessionBudget = 3300

	// copyBudget bounds what copying files brings besides a session, for each direction.
	copyBudget = 2560

	// syncBudget bounds what a sync brings besides a session, for each direction.
	syncBudget = 5120
)

func TestModuleBudgets(t *testing.T) {
	for name, budget := range map[string]int{"session": sessionBudget, "put": copyBudget,
		"get": copyBudget, "syncput": syncBudget, "syncget": syncBudget} {
		source, _ := Module("_mitogen_" + name)
		var b bytes.Buffer
		w, _ := zlib.NewWriterLevel(&b, zlib.BestCompression)
		w.Write(source)
		w.Close()
		if t.Logf("%s: %d bytes", name, b.Len()); b.Len() > budget || len(source) == 0 {
			t.Errorf("%s has %d bytes, budget %d", name, b.Len(), budget)
		}
	}
}

func TestByteBudget(t *testing.T) {
	for _, way := range []Way{Pipe, Terminal, Ahead} {
		n := len(strings.Join(Command(nil, way), " "))
		t.Logf("command (way %d): %d bytes", way, n)
		if n > commandBudget {
			t.Errorf("command (way %d) has %d bytes, budget %d", way, n, commandBudget)
		}
	}
	// The longest that a context four hops down is likely to be told.
	c := Config{
		ID: 100000, Parents: []uint32{99999, 99998, 99997, 0}, Name: "web1.example.com+sudo:postgres",
		MaxMessage: 128 << 20, Heartbeat: 30, BusyTimeout: 300, LogLevel: 20,
	}
	n := len(Head(c, len(Image()))) + len(Image())
	t.Logf("head and image: %d bytes", n)
	if n > startBudget {
		t.Errorf("head and image have %d bytes, budget %d", n, startBudget)
	}
}
