package runtimetest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/testpython"
	"github.com/mitogen-go/mitogen/internal/wire"
)

const aheadModule = `
import os

def variable():
    p = os.popen('echo "$LC_MITO"')
    return os.environ.get('LC_MITO'), p.read()
`

// A context that gets head, image, a module and a call by its environment answers before anything comes on its stdin, and doesn't pass
// the variable on.
func TestAhead(t *testing.T) {
	each(t, func(t *testing.T, py testpython.Interp) {
		const reply = wire.Handle(5000)
		m := wire.Module{Name: "ahead", Path: "ahead.py", Form: wire.FormModuleText, Rest: []byte(aheadModule)}
		load := wire.Frame{Dst: first, Handle: wire.LoadModule, Payload: m.Append(nil)}
		call := wire.Frame{Dst: first, Handle: wire.Call, Reply: reply, Payload: wire.AppendCall(nil, "ahead:variable")}
		frames := call.Append(load.Append(nil))
		l := startWith(t, py, boot.Ahead, frames)
		f := l.other(reply)
		v, err := pickle.Decode(f.Payload, pickle.Limits{})
		if got, ok := v.(pickle.Tuple); err != nil || f.Kind != wire.Data || !ok || got[0] != nil || fmt.Sprint(got[1]) != "\n" {
			t.Errorf("%v, %v", f, v)
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
