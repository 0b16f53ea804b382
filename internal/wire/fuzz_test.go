package wire

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"
)

// FuzzScanner checks that how a stream is cut into reads doesn't change what is read, and that
// nothing gets lost.
func FuzzScanner(f *testing.F) {
	f.Add(stream(ping(1), "noise\xf1", ping(2)))
	f.Add(stream("MITO-EC0\n", ping(1), "\xf1MG\x09"))
	f.Add(stream(ping(1))[:20])
	f.Add(bytes.Repeat([]byte("\xf1M"), 40))
	f.Fuzz(func(t *testing.T, b []byte) {
		frames, noise, err := scan(bytes.NewReader(b))
		frames1, noise1, err1 := scan(iotest.OneByteReader(bytes.NewReader(b)))
		if len(frames) != len(frames1) || noise != noise1 || (err == io.EOF) != (err1 == io.EOF) {
			t.Fatalf("at once: %d frames, noise %q, %v; by bytes: %d, %q, %v", len(frames), noise, err,
				len(frames1), noise1, err1)
		}
		total := len(noise)
		for _, frame := range frames {
			total += frame.Size()
			if again := frame.Append(nil); !bytes.Contains(b, again) {
				t.Fatalf("%v is not in the stream", frame)
			}
		}
		if err == io.EOF && total != len(b) {
			t.Fatalf("%d bytes of %d accounted for", total, len(b))
		}
	})
}

func FuzzPayloads(f *testing.F) {
	f.Add(AppendLost(nil, 1, "why"))
	f.Add((&Module{"a", "b", FormModule, []byte("c")}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		ParseCall(b)
		ParseConnect(b)
		ParseCredit(b)
		ParseLost(b)
		ParseU32[Handle](b)
		ParseNames(b)
		if id, ctx, err := ParseForward(b); err == nil && !bytes.Equal(AppendForward(nil, id, ctx), b) {
			t.Fatalf("FORWARD of %d came from %q", ctx, b)
		}
		if answers, ids, err := ParseComing(b); err == nil &&
			!bytes.Equal(AppendComing(nil, answers, ids), b) {
			t.Fatalf("COMING of %d came from %q", len(ids), b)
		}
		if p, err := ParsePiece(b); err == nil && !bytes.Equal(p.Append(nil), b) {
			t.Fatalf("BUNDLE %v came from %q", p, b)
		}
		if id, name, text, err := ParsePrepare(b); err == nil &&
			!bytes.Equal(AppendPrepare(nil, id, name, text), b) {
			t.Fatalf("PREPARE of %q came from %q", name, b)
		}
		if m, err := ParseModule(b); err == nil && !bytes.Equal(m.Append(nil), b) {
			t.Fatalf("%v came from %q", m, b)
		}
	})
}

// FuzzAssembler checks that parts in any order cost what is accounted for, within the bounds, and
// nothing at the end.
func FuzzAssembler(f *testing.F) {
	f.Add([]byte{4, 1, 100, 4, 1, 100, 0, 1, 5, 1, 1, 0})
	f.Add([]byte{4, 1, 0, 4, 2, 255, 4, 1, 255, 4, 5, 255, 3, 1, 1})
	f.Fuzz(func(t *testing.T, ops []byte) {
		a := Assembler{Limit: 1000}
		for ; len(ops) >= 3; ops = ops[3:] {
			f := Frame{Kind: Kind(ops[0] % 5), Src: ContextID(ops[1] % 4), Handle: Handle(ops[1] / 4 % 8),
				Payload: make([]byte, ops[2])}
			whole, done, err := a.AddUpTo(f, 600)
			if done && err != nil || len(whole.Payload) > 600 {
				t.Fatalf("%v: %d bytes, %v", f, len(whole.Payload), err)
			}
			size, n := 0, 0
			for src, values := range a.values {
				held := 0
				for _, v := range values {
					size += v.size
					held += v.cost
					n++
				}
				if held != a.Held(src) || held > 2*1000+partCost+valueCost {
					t.Fatalf("source %d: %d bytes are kept, %d accounted for", src, held, a.Held(src))
				}
			}
			if n != a.Len() {
				t.Fatalf("%d values are kept, %d counted", n, a.Len())
			}
		}
		for src := range ContextID(4) {
			a.Drop(src)
		}
		if a.Len() != 0 || len(a.held)+len(a.values) != 0 {
			t.Fatal("something is kept")
		}
	})
}

func BenchmarkScannerSmall(b *testing.B) { benchmarkScanner(b, 32) }
func BenchmarkScannerLarge(b *testing.B) { benchmarkScanner(b, MaxPayload) }

func benchmarkScanner(b *testing.B, size int) {
	f := Frame{Kind: Data, Handle: 1000, Payload: make([]byte, size)}
	s := NewScanner(&endless{unit: f.Append(nil)})
	b.SetBytes(int64(f.Size()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Next(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	f := ping(1)
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = f.Append(buf[:0])
	}
}
