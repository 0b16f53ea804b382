package spawn

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/testenv"
)

// ignoredVar makes this test's executable start a program and show what that says.
const ignoredVar = "MITO_SPAWN_IGNORED"

// showIgnored starts a program that shows what it ignores, and shows whether this process still
// does.
func showIgnored() {
	for range 2 {
		show := "grep SigIgn /proc/self/status"
		p, err := Start(context.Background(), methods.Plan{Argv: []string{"sh", "-c", show}}, Options{})
		if err != nil {
			panic(err)
		}
		var out bytes.Buffer
		out.ReadFrom(p.Stdout)
		p.Close()
		os.Stdout.Write(out.Bytes())
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		panic(err)
	}
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "SigIgn") {
			os.Stdout.WriteString("own " + line)
		}
	}
}

// What a program that ignores signals starts has them at their defaults, else no hangup would end
// it; the program itself goes on ignoring them.
func TestIgnoredSignals(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("no /proc")
	}
	for ignore, own := range map[string]string{"true": "0", "trap '' HUP": "1", "trap '' INT": "2",
		"trap '' HUP INT": "3",
		"trap '' HUP INT PIPE CHLD TERM QUIT ALRM USR1": "3"} {
		cmd := exec.Command("sh", "-c", ignore+`; exec "$0"`, os.Args[0])
		cmd.Env = append(os.Environ(), ignoredVar+"=1")
		out, err := cmd.CombinedOutput()
		none := "SigIgn:\t0000000000000000\n"
		if want := none + none + "own SigIgn:\t000000000000000" + own + "\n"; err != nil ||
			testenv.WithoutLibrarySignals(string(out)) != want {
			t.Errorf("%s: got %v, %q, want %q", ignore, err, out, want)
		}
	}
}
