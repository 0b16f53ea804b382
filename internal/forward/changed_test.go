package forward

import (
	"bytes"
	"compress/zlib"
	"io"
	"testing"
	"testing/fstest"

	"github.com/mitogen-go/mitogen/internal/bundle"
	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// An extension module whose file changes after it was looked at, behind the back of its size and
// times, is refused in its place: nothing of the other bytes is sent, and what is beside it is.
func TestChangedNative(t *testing.T) {
	const file = "large/_x.cpython-313-x86_64-linux-gnu.so"
	lib := natives(t)
	whole := lib[file].Data
	spoilt := bytes.Clone(whole)
	copy(spoilt[len(spoilt)-20:], "other bytes")
	for _, tt := range []struct {
		what  string
		data  []byte
		has   []string
		hasnt string
	}{
		{"as it was", whole, []string{string(whole[:1<<20])}, "has changed"},
		{"another byte", spoilt, []string{"-" + file + " has changed", "small/_x."}, "other bytes"},
		{"shorter", whole[:1<<20], []string{"-" + file + " has changed"}, "\x00small.part\x00"},
		{"gone", nil, []string{"small/_x."}, "\x00small.part\x00"},
	} {
		lib[file] = &fstest.MapFile{Data: whole}
		f, _ := forwarder(tree("app.py: import small, large"), lib)
		target := linux
		target.ABI = takes313
		c := f.closure(target, Program{Roots: []string{"app"}})
		lib[file] = &fstest.MapFile{Data: tt.data}
		if tt.data == nil {
			delete(lib, file)
		}
		var all []byte
		for _, b := range bundle.Pack(c.Lacking(func(string) bool { return false })) {
			if b.Native() == 0 && b.Negative == 0 {
				continue
			}
			r, err := zlib.NewReader(bytes.NewReader(b.Compressed))
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(r)
			if err != nil {
				t.Errorf("%s: read bundle: %v", tt.what, err)
			}
			all = append(all, text...)
		}
		for _, part := range tt.has {
			if !bytes.Contains(all, []byte(part)) {
				t.Errorf("%s: %d bytes were sent, without %.60q", tt.what, len(all), part)
			}
		}
		if bytes.Contains(all, []byte(tt.hasnt)) {
			t.Errorf("%s: %d bytes were sent, with %.60q", tt.what, len(all), tt.hasnt)
		}
	}
}

// A file that could not be read once is read again for the next call and the next context, and
// counts for no budget meanwhile.
func TestNativeIsReadAgain(t *testing.T) {
	const file = "small/_x.cpython-313-x86_64-linux-gnu.so"
	lib := natives(t)
	whole := lib[file].Data
	spoilt := bytes.Clone(whole)
	copy(spoilt[len(spoilt)-20:], "other bytes")
	f, s := forwarder(tree("app.py: import small"), lib)
	for ctx := wire.ContextID(1); ctx <= 2; ctx++ {
		f.Add(ctx, 0)
		call(f, ctx, "app")
	}
	target := linux
	target.ABI = takes313
	f.closure(target, Program{Roots: []string{"app"}}) // looks at the file
	lib[file] = &fstest.MapFile{Data: spoilt}
	s.lines = nil
	answer(f, 1, takes313, "small")
	s.expect(t, "changed", "coming 1 2/1", "send 1 small=bundle", "send 1 -1")
	if spent := f.contexts[1].native; spent != 0 {
		t.Errorf("changed: got %d bytes of budget spent, want 0", spent)
	}
	lib[file] = &fstest.MapFile{Data: whole}
	answer(f, 2, takes313, "small")
	s.expect(t, "as it was, the next context", "coming 2 2/1", "send 2 small=bundle",
		"send 2 small._x=bundle")
	f.Want(1, f.Need(withABI(f, 1), Program{Name: "app", Roots: []string{"app"}}))
	s.expect(t, "as it was, the next call", "coming 1 1/0", "send 1 small._x=bundle")
	f.Want(1, f.Need(withABI(f, 1), Program{Name: "app", Roots: []string{"app"}}))
	s.expect(t, "once it is there")
}

// An extension module that can't be read when it is to go alone costs nothing of the budget.
func TestChangedNativeAlone(t *testing.T) {
	const file = "small/_x.cpython-313-x86_64-linux-gnu.so"
	lib := natives(t)
	whole := lib[file].Data
	f, _ := forwarder(tree("app.py: def f():\n import small._x"), lib)
	f.Add(1, 0)
	call(f, 1, "app")
	x := f.contexts[1]
	x.closures, x.abi = maxClosures, takes313
	target := withABI(f, 1)
	f.find(1, target, "small._x") // looks at the file
	for _, tt := range []struct {
		what   string
		data   []byte
		letter byte
		spent  int64
	}{
		{"changed", append(bytes.Clone(whole[1:]), 0), modules.Missing, 0},
		{"as it was", whole, modules.Native, int64(len(whole))},
	} {
		lib[file] = &fstest.MapFile{Data: tt.data}
		m, given := f.Asked(1, target, "app", "small._x")
		if m == nil || !given || m.Letter != tt.letter || x.native != tt.spent {
			t.Errorf("%s: got %+v, %t, %d bytes spent, want letter %c, %d bytes", tt.what, m, given,
				x.native, tt.letter, tt.spent)
		}
		if sent := x.grant.sent("small._x"); sent != (tt.letter == modules.Native) {
			t.Errorf("%s: got %t for whether it was sent, want letter %c", tt.what, sent, tt.letter)
		}
	}
}
