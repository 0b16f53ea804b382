package runtimetest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/testpython"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
)

const aheadModule = `
import os

def variable():
    p = os.popen('echo "$LC_MITO"')
    return os.environ.get('LC_MITO'), p.read()
`

// A context that gets head, image, a module and a call by its environment answers before anything
// comes on its stdin, and doesn't pass the variable on.
func TestAhead(t *testing.T) {
	each(t, func(t *testing.T, py testpython.Interp) {
		const reply = wire.Handle(5000)
		m := wire.Module{Name: "ahead", Path: "ahead.py", Form: wire.FormModuleText,
			Rest: []byte(aheadModule)}
		load := wire.Frame{Dst: first, Handle: wire.LoadModule, Payload: m.Append(nil)}
		call := wire.Frame{Dst: first, Handle: wire.Call, Reply: reply,
			Payload: wire.AppendCall(nil, "ahead:variable")}
		frames := call.Append(load.Append(nil))
		l := startWith(t, py, boot.Ahead, frames)
		f := l.other(reply)
		v, err := pickle.Decode(f.Payload, pickle.Limits{})
		if got, ok := v.(pyvalue.Tuple); err != nil || f.Kind != wire.Data || !ok || got[0] != nil ||
			fmt.Sprint(got[1]) != "\n" {
			t.Errorf("answer: got %v, value %v; want a tuple of None and a newline", f, v)
		}
		l.mu.Lock()
		noise := string(l.noise)
		l.mu.Unlock()
		if !strings.Contains(noise, boot.EC1+"\n") {
			t.Errorf("noise %q", noise)
		}
		l.call("os:getpid").value()
	})
}

// Where the variable doesn't arrive, the same command reads from stdin, and says so.
func TestNotAhead(t *testing.T) {
	each(t, func(t *testing.T, py testpython.Interp) {
		l := startWith(t, py, boot.Ahead, nil)
		l.call("os:getpid").value()
	})
}

// What goes ahead may be changed on its way by programs that keep text only, cut off, or dropped:
// then it is as if nothing had arrived, and neither variable is left to programs.
func TestAheadChanged(t *testing.T) {
	cfg := boot.Config{ID: uint32(first), Parents: []uint32{0}, Name: "web1",
		MaxMessage: wire.MaxMessage, LogLevel: 20}
	ahead, err := boot.AheadEnv(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	const code = "import os;os.write(1,str([v for v in os.environ if 'LC_MITO' in v]).encode())\n"
	for _, tt := range []struct {
		name string
		env  []string
		mark string
	}{
		{"as it was", ahead, boot.EC1},
		{"no text", []string{ahead[0], strings.ToValidUTF8(ahead[1], "\ufffd")}, boot.EC0},
		{"bytes without their eighth bit",
			[]string{ahead[0], strings.Map(func(r rune) rune { return max(r&0x7f, 2) }, ahead[1])},
			boot.EC0},
		{"cut off", []string{ahead[0], ahead[1][:len(ahead[1])-1]}, boot.EC0},
		{"empty", []string{ahead[0], boot.AheadData + "="}, boot.EC0},
		{"no data", ahead[:1], boot.EC0},
		{"no head", ahead[1:], boot.EC0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			each(t, func(t *testing.T, py testpython.Interp) {
				argv := boot.Command([]string{py.Path}, boot.Ahead)
				cmd := exec.Command(argv[0], argv[1:]...)
				cmd.Stdin, cmd.Env = strings.NewReader(code), append(os.Environ(), tt.env...)
				out, _ := cmd.CombinedOutput()
				if !bytes.HasPrefix(out, []byte("\n"+tt.mark+"\n")) {
					t.Fatalf("got %.300q, want %s", out, tt.mark)
				}
				if tt.mark == boot.EC0 && len(tt.env) == 2 && !bytes.HasSuffix(out, []byte("[]")) {
					t.Errorf("variables that are left: got %q, want none", out)
				}
			})
		})
	}
}

// Login shells pass on what isn't text. Only fish 3 in the C locale doesn't, which costs a round
// trip.
func TestAheadThroughShells(t *testing.T) {
	cfg := boot.Config{ID: uint32(first), Parents: []uint32{0}, Name: "web1",
		MaxMessage: wire.MaxMessage, LogLevel: 20}
	frames := make([]byte, 4096) // any bytes that compression leaves many of
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(frames),
		func(i, j int) { frames[i], frames[j] = byte(j), byte(i) })
	ahead, err := boot.AheadEnv(cfg, frames)
	if err != nil {
		t.Fatal(err)
	}
	command := methods.QuoteCommand(boot.Command(nil, boot.Ahead))
	for _, shell := range []string{"sh", "dash", "bash", "zsh", "ksh", "mksh", "fish", "csh", "tcsh",
		"busybox sh"} {
		words := strings.Fields(shell)
		if _, err := exec.LookPath(words[0]); err != nil {
			continue
		}
		for _, locale := range []string{"", "C", "C.UTF-8"} {
			t.Run(shell+" "+locale, func(t *testing.T) {
				cmd := exec.Command(words[0], append(words[1:], "-c", command)...)
				cmd.Env = append(append(os.Environ(), "LC_ALL="+locale), ahead...)
				out, _ := cmd.CombinedOutput()
				whole := bytes.HasPrefix(out, []byte("\n"+boot.EC1+"\n"))
				lost := bytes.HasPrefix(out, []byte("\n"+boot.EC0+"\n"))
				if !whole && !(lost && shell == "fish" && locale == "C") {
					t.Errorf("got %.300q, want %s", out, boot.EC1)
				}
			})
		}
	}
}
