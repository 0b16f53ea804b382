package forward

import (
	"bytes"
	"compress/zlib"
	"io"
	"testing"
	"testing/fstest"

	"github.com/mitogen-go/mitogen/internal/bundle"
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
			if b.Native() == 0 {
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
