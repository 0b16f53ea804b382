package mitogen_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen"
)

// endless is input without an end.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

// kept says how many goroutines, descriptors and children the process has.
func kept(t *testing.T) string {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	children := 0
	tasks, _ := filepath.Glob("/proc/self/task/*/children")
	for _, name := range tasks {
		b, _ := os.ReadFile(name)
		children += len(strings.Fields(string(b)))
	}
	return fmt.Sprintf("%d goroutines, %d descriptors, %d children", runtime.NumGoroutine(),
		len(files), children)
}

// Contexts that were closed, and programs that haven't read their input, leave nothing behind: 500
// of them with $MITOGEN_SOAK.
func TestReconnects(t *testing.T) {
	n := 20
	if os.Getenv("MITOGEN_SOAK") != "" {
		n = 500
	}
	e := newEngine(t, mitogen.Options{})
	round := func() {
		c, err := e.Connect(t.Context(), "local", mitogen.ConnectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		status, err := c.Exec(t.Context(), mitogen.Command{Args: []string{"true"}, Stdin: endless{}})
		if err != nil || status != 0 {
			t.Fatalf("got status %d, %v", status, err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	round()
	time.Sleep(time.Second) // what a first context starts is there, or gone
	before := kept(t)
	for range n {
		round()
	}
	var after string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if after = kept(t); after == before {
			t.Logf("%d contexts: %s before and after", n, before)
			return
		}
	}
	t.Errorf("after %d contexts: got %s, before %s", n, after, before)
}
