package goctx

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/pickle"
	_ "github.com/mitogen-go/mitogen/internal/testenv"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
)

// unattached returns a context whose stream leads nowhere.
func unattached(limit int) *served {
	return newServed(wire.GoHead{ID: 5, Parents: []uint32{3, 0}, MaxMessage: limit})
}

func init() {
	Register("fuzzed", "", func(ctx context.Context, c *Call) (any, error) {
		var v any
		return v, c.Argument(&v)
	})
}

// FuzzDeliver feeds frames from anywhere to a context. It may refuse them, and keeps no more than
// its limit of their parts.
func FuzzDeliver(f *testing.F) {
	args, err := pickle.AppendCall(nil, []any{1}, map[string]any{TimeoutKey: 1.5}, pickle.Proto4)
	if err != nil {
		f.Fatal(err)
	}
	seed := func(frames ...wire.Frame) {
		var b []byte
		for _, fr := range frames {
			b = fr.Append(b)
		}
		f.Add(b)
	}
	call := append(wire.AppendCall(nil, "go:fuzzed"), args...)
	seed(wire.Frame{Dst: 5, Handle: wire.Call, Reply: 1000, Payload: call},
		wire.Frame{Dst: 5, Handle: wire.Cancel, Payload: wire.AppendU32(nil, wire.Handle(1000))})
	seed(wire.Frame{Kind: wire.Part, Dst: 5, Handle: wire.Call, Reply: 1000, Payload: call[:5]},
		wire.Frame{Kind: wire.Part, Dst: 5, Handle: wire.Call, Reply: 1001, Payload: call},
		wire.Frame{Dst: 5, Handle: wire.Call, Reply: 1000, Payload: call[5:]})
	seed(wire.Frame{Dst: 5, Src: 9, Auth: 9, Handle: wire.Call, Reply: 1000, Payload: call},
		wire.Frame{Dst: 5, Src: 9, Auth: 9, Handle: wire.Credit,
			Payload: wire.AppendCredit(nil, 17, 1<<31)},
		wire.Frame{Dst: 6, Handle: wire.Ping, Reply: 8, Payload: []byte("x")})
	f.Fuzz(func(t *testing.T, b []byte) {
		const limit = 64
		s := unattached(limit)
		scanner := wire.NewScanner(bytes.NewReader(b))
		for {
			fr, err := scanner.Next()
			if err != nil {
				break
			}
			switch fr.Handle {
			case wire.Shutdown, wire.Session, wire.Open: // which end the process, or start programs
				continue
			}
			s.deliver(&fr)
			if s.mu.Lock(); s.held > 2*limit+partCost+wire.MaxPayload {
				t.Fatalf("parts: got %d bytes kept, want at most twice %d and a piece", s.held, limit)
			}
			s.mu.Unlock()
		}
		s.stop(ErrShutdown)
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			s.mu.Lock()
			n, kept := s.running, len(s.calls)+len(s.flows)
			s.mu.Unlock()
			if n == 0 && kept == 0 {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%d calls run, %d are kept", n, kept)
			}
		}
	})
}

// FuzzSpecs reads what asks for sessions and connections: it refuses, or finds nothing that the
// system would take otherwise than it was written.
func FuzzSpecs(f *testing.F) {
	for _, v := range []any{
		map[string]any{"argv": []any{[]byte("a"), []byte("b")}, "err": 7, "null": true},
		map[string]any{"command": []byte("x"), "login": true, "wait": int64(1 << 40),
			"env": []any{pyvalue.Tuple{[]byte("A"), []byte("b")}}},
		map[string]any{"host": []byte("h"), "port": 80, "service": "sockets", "data": 9, "timeout": 1.5},
		map[string]any{"listen": true, "path": []byte("/s"), "family": 6, "accept": 3},
		map[string]any{"pty": pyvalue.Tuple{[]byte("vt100"), 24, 80, 0, 0}, "cwd": []byte("/")},
	} {
		b, err := pickle.Append(nil, v, pickle.Proto4)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if open, err := parseOpen(b); err == nil {
			if at := open.host() + string(open.Path); strings.IndexByte(at, 0) >= 0 {
				t.Fatalf("got %q, want an error: it has a zero byte", at)
			}
		}
		spec, err := parseSession(b)
		if err != nil {
			return
		}
		for _, word := range spec.words() {
			if bytes.IndexByte(word, 0) >= 0 {
				t.Fatalf("got %q, want an error: it has a zero byte", word)
			}
		}
		spec.program()
	})
}

// A guard reads what it is told in any pieces, and keeps nothing of sockets that have gone.
func TestGuardIsTold(t *testing.T) {
	told := socketAt{1, 2, "/d"}.line("/a") + socketAt{3, 4, ""}.line("/b") + "/a\x00\x00\x00" +
		"/none\x00\x00\x00" + socketAt{5, 6, ""}.line("/b")
	for size := 1; size <= len(told); size++ {
		left, rest := map[string]socketAt{}, []byte(nil)
		for b := range slices.Chunk([]byte(told), size) {
			rest = note(left, append(rest, b...))
		}
		if len(rest) > 0 || len(left) != 1 || left["/b"] != (socketAt{5, 6, ""}) {
			t.Fatalf("in pieces of %d: got %v and %q, want /b with 5 and 6", size, left, rest)
		}
	}
}

func TestRefused(t *testing.T) {
	s := unattached(1000)
	call := wire.AppendCall(nil, "go:fuzzed")
	for what, f := range map[string]wire.Frame{
		"a stranger's call":  {Dst: 5, Src: 9, Auth: 9, Handle: wire.Call, Payload: call},
		"a child's call":     {Dst: 5, Src: 0, Auth: 5, Handle: wire.Call, Payload: call},
		"a stranger's end":   {Dst: 5, Src: 9, Auth: 9, Handle: wire.Shutdown},
		"CONNECT":            {Dst: 5, Handle: wire.Connect},
		"a child's program":  {Dst: 5, Auth: 5, Handle: wire.Session, Payload: []byte("\x80\x02}.")},
		"DEAD of a program":  {Kind: wire.Dead, Dst: 5, Handle: wire.Session},
		"a child's tunnel":   {Dst: 5, Auth: 5, Handle: wire.Open, Payload: []byte("\x80\x02}.")},
		"a handle of others": {Dst: 5, Handle: 1000},
		"another context":    {Dst: 6, Handle: wire.Call, Payload: call},
		"ITEM of a call":     {Kind: wire.Item, Dst: 5, Handle: wire.Call, Payload: call},
		"CANCEL, 3 bytes":    {Dst: 5, Handle: wire.Cancel, Payload: []byte("abc")},
		"PART of CREDIT":     {Kind: wire.Part, Dst: 5, Src: 9, Handle: wire.Credit, Payload: call},
	} {
		f.Reply = 1000
		before := s.stream.Queued()
		s.deliver(&f)
		if s.stream.Queued() == before {
			t.Errorf("%s: got no DEAD", what)
		}
	}
	if s.stopping || s.held > 0 || s.running > 0 || len(s.parts) > 0 {
		t.Errorf("got stopping %v, %d bytes, %d calls, %d parts kept, want nothing", s.stopping, s.held,
			s.running, len(s.parts))
	}
}
