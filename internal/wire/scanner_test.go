package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

func ping(n int) Frame {
	return Frame{Kind: Data, Dst: 1, Src: 2, Auth: 3, Handle: Ping, Reply: Handle(1000 + n),
		Payload: []byte(fmt.Sprint("ping", n))}
}

// stream returns the bytes of parts: frames, and strings between them.
func stream(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			b = append(b, p...)
		case Frame:
			b = p.Append(b)
		}
	}
	return b
}

// scan returns what a Scanner makes of r until the first error: copies of the frames, and the
// noise.
func scan(r io.Reader) (frames []Frame, noise string, err error) {
	s := NewScanner(r)
	s.Noise = func(b []byte) { noise += string(b) }
	for {
		f, err := s.Next()
		if err != nil {
			return frames, noise, err
		}
		f.Payload = bytes.Clone(f.Payload)
		frames = append(frames, f)
	}
}

var readers = map[string]func([]byte) io.Reader{
	"at once":  func(b []byte) io.Reader { return bytes.NewReader(b) },
	"by bytes": func(b []byte) io.Reader { return iotest.OneByteReader(bytes.NewReader(b)) },
	"by halves": func(b []byte) io.Reader {
		return iotest.HalfReader(iotest.DataErrReader(bytes.NewReader(b)))
	},
}

func TestScannerFindsFramesAmongNoise(t *testing.T) {
	large := Frame{Kind: Item, Handle: 1001, Payload: bytes.Repeat([]byte("\xf1MG"), MaxPayload/3)}
	full := Frame{Kind: Part, Handle: 1001, Payload: make([]byte, MaxPayload)}
	empty := Frame{Kind: Data, Handle: Shutdown, Payload: []byte{}}
	tests := []struct {
		name   string
		parts  []any
		frames []Frame
		noise  string
	}{
		{"nothing", nil, nil, ""},
		{"frames", []any{ping(1), empty, large, ping(2), full, ping(3)},
			[]Frame{ping(1), empty, large, ping(2), full, ping(3)}, ""},
		{"banner and EC0", []any{"Welcome!\r\nMITO-EC0\n", ping(1)}, []Frame{ping(1)},
			"Welcome!\r\nMITO-EC0\n"},
		{"between", []any{ping(1), "late line\n", ping(2), "x", ping(3)},
			[]Frame{ping(1), ping(2), ping(3)}, "late line\nx"},
		{"beginnings of a magic", []any{"\xf1", "\xf1M", "\xf1\xf1M", ping(1), "M\xf1MM\xf1", ping(2)},
			[]Frame{ping(1), ping(2)},
			"\xf1\xf1M\xf1\xf1MM\xf1MM\xf1"},
		{"at the end", []any{ping(1), "bye\xf1M"}, []Frame{ping(1)}, "bye\xf1M"},
		{"noise only", []any{"command not found\n"}, nil, "command not found\n"},
	}
	for _, test := range tests {
		for how, reader := range readers {
			frames, noise, err := scan(reader(stream(test.parts...)))
			if err != io.EOF || noise != test.noise || !reflect.DeepEqual(frames, test.frames) {
				t.Errorf("%s, %s: %d frames, noise %q, %v", test.name, how, len(frames), noise, err)
			}
		}
	}
}

func TestScannerHandsNoiseOverAtOnce(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	s := NewScanner(r)
	seen := make(chan string)
	s.Noise = func(b []byte) { seen <- string(b) }
	go s.Next()
	fmt.Fprint(w, "MITO-EC0\n")
	if got := <-seen; got != "MITO-EC0\n" {
		t.Errorf("noise %q", got)
	}
}

func TestScannerRefusesEndlessNoise(t *testing.T) {
	_, noise, err := scan(io.MultiReader(bytes.NewReader(stream(strings.Repeat("n", MaxNoise),
		ping(1))), strings.NewReader(strings.Repeat("n", MaxNoise+1))))
	if !errors.Is(err, ErrNoise) || len(noise) != 2*MaxNoise+1 {
		t.Errorf("%d bytes of noise, %v", len(noise), err)
	}
}

func TestScannerShowsForeignBytesInAFrame(t *testing.T) {
	f := Frame{Kind: Data, Handle: 1000, Payload: bytes.Repeat([]byte{1}, 3000)}
	inside := f.Append(nil)
	inside = append(inside[:1500:1500],
		append([]byte("\x1b[31mTraceback: oops\n"), inside[1500:]...)...)
	kind := f.Append(nil)
	kind[3] = 'k'
	length := f.Append(nil)
	copy(length[24:], "warn")
	tests := []struct {
		name string
		b    []byte
		want []string
	}{
		{"in the payload", inside, []string{"no trailer behind 3000 bytes", `"[31mTraceback: oops"`}},
		{"in the header", kind, []string{"unknown kind 107", `\xf1MGk`}},
		{"as a length", length, []string{"payload of 2002874990 bytes", `warn\x01\x01`}},
	}
	for _, test := range tests {
		_, _, err := scan(bytes.NewReader(test.b))
		var corrupt *CorruptError
		if !errors.As(err, &corrupt) {
			t.Errorf("scan %s: got %v, want a CorruptError", test.name, err)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q not in %q", test.name, want, err)
			}
		}
		if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r > '~' }) ||
			len(err.Error()) > 1500 {
			t.Errorf("%s: not fit for a terminal: %q", test.name, err)
		}
	}
}

func TestScannerErrorsStay(t *testing.T) {
	broken := errors.New("broken")
	cut := stream(ping(1))
	tests := []struct {
		name string
		r    io.Reader
		want error
	}{
		{"end", bytes.NewReader(nil), io.EOF},
		{"end in a header", bytes.NewReader(cut[:10]), io.ErrUnexpectedEOF},
		{"end in a payload", bytes.NewReader(cut[:len(cut)-1]), io.ErrUnexpectedEOF},
		{"read error", io.MultiReader(bytes.NewReader(cut), iotest.ErrReader(broken)), broken},
		{"read error in a frame", io.MultiReader(bytes.NewReader(cut[:20]), iotest.ErrReader(broken)),
			broken},
		{"reader without progress", stuck{}, io.ErrNoProgress},
	}
	for _, test := range tests {
		s := NewScanner(test.r)
		var err error
		for err == nil {
			_, err = s.Next()
		}
		_, again := s.Next()
		if !errors.Is(err, test.want) || !errors.Is(again, test.want) {
			t.Errorf("%s: %v, then %v", test.name, err, again)
		}
	}
}

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

func TestBufferedSaysWhetherNextReads(t *testing.T) {
	whole, cut := stream(ping(1)), stream(ping(3))
	chunks := [][]byte{
		append(stream(ping(0), "noise", ping(1)), whole[:12]...),
		append(whole[12:], "noise\xf1"...),
		stream("noise", ping(2), "\xf1MG\xff............................."),
		cut,
	}
	r := &chunkReader{chunks: chunks}
	s := NewScanner(r)
	for {
		before, buffered := r.reads, s.Buffered()
		_, err := s.Next()
		if read := r.reads != before; read == buffered {
			t.Fatalf("Buffered is %v, and Next read: %v (%v)", buffered, read, err)
		}
		if err != nil {
			break
		}
	}
	if r.reads != 3 {
		t.Errorf("%d reads", r.reads)
	}
}

type chunkReader struct {
	chunks [][]byte
	reads  int
}

func (r *chunkReader) Read(p []byte) (int, error) {
	r.reads++
	if len(r.chunks) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.chunks[0])
	r.chunks = r.chunks[1:]
	return n, nil
}

func TestScannerAllocatesNothingPerFrame(t *testing.T) {
	frame := stream(ping(1))
	s := NewScanner(&endless{unit: frame})
	if _, err := s.Next(); err != nil {
		t.Fatal(err)
	}
	allocs := testing.AllocsPerRun(2000, func() {
		if _, err := s.Next(); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations per frame", allocs)
	}
}

// endless repeats unit.
type endless struct {
	unit []byte
	at   int
}

func (e *endless) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		c := copy(p[n:], e.unit[e.at:])
		n += c
		e.at = (e.at + c) % len(e.unit)
	}
	return n, nil
}

func TestScannerReadsRandomStreamsInRandomChunks(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var parts []any
		var want []Frame
		for range rng.IntN(20) {
			f := Frame{Kind: Kind(rng.IntN(5)), Dst: ContextID(rng.Uint32()), Reply: Handle(rng.Uint32()),
				Payload: make([]byte, size(rng))}
			for i := range f.Payload {
				f.Payload[i] = "\xf1MGx"[rng.IntN(4)]
			}
			want = append(want, f)
			parts = append(parts, f)
			if rng.IntN(3) == 0 {
				parts = append(parts, strings.Repeat("noise\xf1", rng.IntN(3000)))
			}
		}
		var chunks [][]byte
		for b := stream(parts...); len(b) > 0; {
			n := min(len(b), 1+size(rng))
			chunks = append(chunks, b[:n])
			b = b[n:]
		}
		// A chunk that is longer than the scanner's room comes in several reads.
		var rs []io.Reader
		for _, c := range chunks {
			rs = append(rs, bytes.NewReader(c))
		}
		got, _, err := scan(io.MultiReader(rs...))
		if err != io.EOF || !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d: %d frames of %d, %v", seed, len(got), len(want), err)
		}
	}
}

func size(rng *rand.Rand) int {
	return rng.IntN([]int{1, 40, 4000, MaxPayload + 1}[rng.IntN(4)])
}
