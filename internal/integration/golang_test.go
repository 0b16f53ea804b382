package integration

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/report"
)

// whoami is a Go function that says where it runs, and as whom.
var whoami = mitogen.Func("whoami", func(_ context.Context, greeting string) (string, error) {
	fmt.Println(greeting)
	exe, err := os.Readlink("/proc/self/exe")
	return fmt.Sprint(os.Getuid(), " ", exe), err
})

// TestGoFunctions calls a Go function at real hosts and accounts: over ssh, behind sudo, and behind
// a hop. The program is in memory only.
func TestGoFunctions(t *testing.T) {
	l := lab.Need(t)
	var programs givenPrograms
	eng, err := mitogen.New(mitogen.Options{Audit: programs.audit})
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	targets := []string{lab.Free, lab.Free + "+sudo", lab.Free + "+sudo:" + lab.None,
		lab.Free + "+local", "local+sudo:" + lab.None}
	for _, target := range targets {
		var out strings.Builder
		c, err := eng.Connect(ctx, target, mitogen.ConnectOptions{
			Options: connect.Options{SSH: connect.SSHOptions{ConfigFile: l.Config}}, Stdout: &out})
		if err != nil {
			t.Fatalf("connect %s: %v", target, err)
		}
		said, err := whoami.Call(ctx, c, "hello")
		info, _ := c.Info(ctx)
		if want := fmt.Sprint(info.UID, " /memfd:mitogen"); err != nil || !strings.HasPrefix(said, want) {
			t.Errorf("%s: got %q, %v, want %s", target, said, err, want)
		}
		if out.String() != "hello\n" {
			t.Errorf("%s: output: got %q, want hello", target, out.String())
		}
		if err := c.Close(); err != nil {
			t.Errorf("%s: close: %v", target, err)
		}
	}
	if got := programs.count(); got != len(targets) {
		t.Errorf("got %d lines of programs in the audit log, want one for each of %d targets", got,
			len(targets))
	}
}

// givenPrograms counts what an audit log says of Go programs.
type givenPrograms struct{ n atomic.Int32 }

func (p *givenPrograms) audit(ev report.Event) error {
	ours := "go:" + runtime.GOOS + "/" + runtime.GOARCH
	if ev.Kind == report.EventFile && ev.Name == ours && ev.Bytes > 0 {
		p.n.Add(1)
	}
	return nil
}

func (p *givenPrograms) count() int { return int(p.n.Load()) }
