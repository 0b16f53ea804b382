package runtimetest

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A sample of what `make fuzz` tries for as long as MITOGEN_FUZZ says: no bytes of a child, and
// none that the engine relays, make the runtime fail. Each run of the sample has the same inputs.
func TestFuzz(t *testing.T) {
	t.Parallel()
	all := interpreters(t)
	py := all[len(all)-1]
	for _, other := range all {
		if other.Impl == "cpython" {
			py = other
		}
	}
	if !py.AtLeast(3, 6) {
		t.Skip("needs a Python 3")
	}
	seed, count, seconds := "1", "200", "0"
	if s := os.Getenv("MITOGEN_FUZZ"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil {
			t.Fatal(err)
		}
		seed, count, seconds = fmt.Sprint(time.Now().Unix()), "1", fmt.Sprint(d.Seconds())
	}
	cmd := exec.Command(py.Path, "testdata/fuzz.py", "../../python", seed, count, seconds)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), " inputs, ") {
		t.Errorf("fuzz.py by %s: got %v, want a count of inputs; output:\n%s", py.Name(), err, out)
	}
	t.Logf("%s, seed %s: %s", py.Name(), seed, out)
}
