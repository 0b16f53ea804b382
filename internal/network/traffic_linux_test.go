package network

import (
	"bytes"
	"context"
	"fmt"

	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/lab"
)

// traffic measures programs side by side, over one link.
type traffic struct {
	net     *lab.Net
	program string
}

// once runs argv with input and returns how long that took. want is how many bytes it has to print.
func (tr *traffic) once(t *testing.T, input []byte, want int, argv ...string) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin = bytes.NewReader(input)
	counted := &counter{}
	cmd.Stdout, cmd.Stderr = counted, os.Stderr
	begun := time.Now()
	if err := cmd.Run(); err != nil || counted.n != want {
		t.Fatalf("%q: %v, got %d bytes, want %d", argv, err, counted.n, want)
	}
	return time.Since(begun)
}

type counter struct{ n int }

func (c *counter) Write(b []byte) (int, error) {
	c.n += len(b)
	return len(b), nil
}

// beside runs a command by ssh and by mitogen in turn, and prints the best of each.
func (tr *traffic) beside(t *testing.T, what string, runs int, input []byte, want int,
	command ...string) {
	t.Helper()
	host := tr.net.Names[0]
	sides := [][]string{
		append([]string{"ssh", "-F", tr.net.Config, "-o", "LogLevel=ERROR", host}, command...),
		append([]string{tr.program, "exec", "-F", tr.net.Config, "-t", host, "--"}, command...),
	}
	took := make([][]time.Duration, 2)
	for range runs {
		for i, argv := range sides {
			took[i] = append(took[i], tr.once(t, input, want, argv...))
		}
	}
	ssh, ours := slices.Min(took[0]), slices.Min(took[1])
	line := fmt.Sprintf("%-28s ssh %8s  mitogen %8s  %+7s  %.2f ×", what, ssh.Round(time.Millisecond),
		ours.Round(time.Millisecond), (ours - ssh).Round(time.Millisecond), ours.Seconds()/ssh.Seconds())
	if n := max(len(input), want); n > 1<<20 {
		rate := func(d time.Duration) float64 { return float64(n) / 1e6 / d.Seconds() }
		line += fmt.Sprintf("  %.0f, %.0f MB/s", rate(ssh), rate(ours))
	}
	t.Log(line)
}

// TestTraffic measures what passes through sessions side by side with the ssh program: make
// bench-traffic. It demands results, not times.
func TestTraffic(t *testing.T) {
	size := 0 // of what passes
	if fmt.Sscan(os.Getenv("MITOGEN_TRAFFIC"), &size); size <= 0 {
		t.Skip("measures: make bench-traffic")
	}
	size <<= 20
	tr := &traffic{program: filepath.Join(t.TempDir(), "mitogen")}
	if out, err := exec.Command("go", "build", "-ldflags", "-s -w", "-o", tr.program,
		"../../cmd/mitogen").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	input := random(size)
	for _, rtt := range []time.Duration{0, 50 * time.Millisecond, 100 * time.Millisecond,
		200 * time.Millisecond} {
		t.Run(fmt.Sprint("rtt ", rtt), func(t *testing.T) {
			tr.net = lab.NewNet(t, 1, rtt)
			tr.beside(t, "true", 3, nil, 0, "true")
			if rtt == 100*time.Millisecond {
				return
			}
			tr.beside(t, "stdout of a program", 3, nil, size, "head", "-c", fmt.Sprint(size), "/dev/urandom")
			tr.beside(t, "stdin of a program", 3, input, 0, "tail", "-c", "0")
		})
	}
}
