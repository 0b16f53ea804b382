package stream

import (
	"bytes"
	"runtime"
	"testing"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// taken is the other end of a stream. It keeps what is written, and the memory that it was written
// from, which a Writer must not do.
type taken struct {
	bytes.Buffer
	from [][]byte
}

func (w *taken) Write(b []byte) (int, error) {
	w.from = append(w.from, b[:cap(b)])
	return w.Buffer.Write(b)
}

func (w *taken) Close() error { return nil }

// A frame with a secret leaves no copy in the memory of a stream.
func TestSecretFrames(t *testing.T) {
	const word = "hunter2-and-more"
	plain := &wire.Frame{Dst: 1, Handle: wire.Call, Payload: bytes.Repeat([]byte("x"), 100)}
	large := &wire.Frame{Dst: 1, Handle: wire.Call, Payload: bytes.Repeat([]byte("x"), 2*smallFrame)}
	for name, frames := range map[string][]*wire.Frame{"alone": nil, "small before": {plain},
		"large before": {large, plain}} {
		s, w := New(), &taken{}
		for _, f := range frames {
			s.Put(f)
		}
		s.Put(&wire.Frame{Dst: 1, Handle: wire.Connect, Payload: []byte(word), Secret: true})
		var heads [][]byte
		for _, b := range s.bulk {
			heads = append(heads, b.head)
		}
		s.Put(large)
		s.Put(plain)
		s.Attach(w)
		s.Release()
		for s.Queued() > 0 {
			runtime.Gosched()
		}
		s.Close(nil)
		if !bytes.Contains(w.Bytes(), []byte(word)) {
			t.Fatalf("%s: the frame wasn't written", name)
		}
		for _, b := range append(append(heads, w.from...), s.spare) {
			if bytes.Contains(b[:cap(b)], []byte(word)) {
				t.Errorf("%s: a copy of the secret is left", name)
			}
		}
	}
}
