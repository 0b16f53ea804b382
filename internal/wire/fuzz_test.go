package wire

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"
)

// FuzzScanner checks that how a stream is cut into reads doesn't change what is read, and that nothing gets lost.
func FuzzScanner(f *testing.F) {
	f.Add(stream(ping(1), "noise\xf1", ping(2)))
	f.Add(stream("MITO-EC0\n", ping(1), "\xf1MG\x09"))
	f.Add(stream(ping(1))[:20])
	f.Add(bytes.Repeat([]byte("\xf1M"), 40))
	f.Fuzz(func(t *testing.T, b []byte) {
		frames, noise, err := scan(bytes.NewReader(b))
		frames1, noise1, err1 := scan(iotest.OneByteReader(bytes.NewReader(b)))
		if len(frames) != len(frames1) || noise != noise1 || (err == io.EOF) != (err1 == io.EOF) {
			t.Fatalf("at once: %d frames, noise %q, %v; by bytes: %d, %q, %v", len(frames), noise, err, len(frames1), noise1, err1)
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
		if m, err := ParseModule(b); err == nil && !bytes.Equal(m.Append(nil), b) {
			t.Fatalf("%v came from %q", m, b)
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
