package pickle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/pyvalue"
	"github.com/mitogen-go/mitogen/secret"
)

func TestAppendTakesGoTypes(t *testing.T) {
	type point struct{ X, Y int8 }
	text := "s"
	tests := []struct{ v, want any }{
		{int8(-1), int64(-1)}, {uint8(255), int64(255)}, {uint16(1 << 15), int64(1 << 15)},
		{uint32(math.MaxUint32), int64(math.MaxUint32)},
		{uint64(math.MaxUint64), new(big.Int).SetUint64(math.MaxUint64)}, {uint(7), int64(7)},
		{int32(math.MinInt32), int64(math.MinInt32)},
		{float32(0.5), 0.5}, {complex64(complex(1, 2)), complex(1, 2)}, {named("n"), "n"},
		{big.NewInt(5), int64(5)}, {(*big.Int)(nil), nil},
		{&text, "s"}, {(*string)(nil), nil}, {(*pyvalue.List)(nil), nil}, {(*pyvalue.Exception)(nil),
			nil},
		{[]string(nil), pyvalue.NewList()}, {[]int(nil), pyvalue.NewList()},
		{map[string]int(nil), pyvalue.NewDict()}, {[]byte(nil), []byte{}}, {json.RawMessage("x"),
			[]byte("x")},
		{[2]byte{1, 2}, []byte{1, 2}},
		{&[2]byte{1, 2}, []byte{1, 2}}, {[]uint16{1}, pyvalue.NewList(int64(1))},
		{[2]string{"a", "b"}, pyvalue.NewList("a", "b")}, {[]any{1, nil}, pyvalue.NewList(int64(1), nil)},
		{map[string]any{"b": 1, "a": nil}, pyvalue.NewDict("a", nil, "b", int64(1))},
		{map[int]string{2: "b", -1: "a"}, pyvalue.NewDict(int64(-1), "a", int64(2), "b")},
		{map[any]int{"b": 1, 2: 2}, pyvalue.NewDict(int64(2), int64(2), "b", int64(1))},
		{map[[1]byte]bool{{1}: true}, pyvalue.NewDict([]byte{1}, true)},
		{struct{}{}, pyvalue.NewDict()}, {point{1, 2}, pyvalue.NewDict("x", int64(1), "y", int64(2))},
		{&point{}, pyvalue.NewDict("x", int64(0), "y", int64(0))},
		{mount{"sda", nil}, pyvalue.NewDict("device", "sda", "bytes", nil)},
		{struct {
			A   int `py:"class"`
			B   int `py:"b,omitempty"`
			C   int `py:"-"`
			D   []point
			URL string
		}{A: 1, C: 2}, pyvalue.NewDict("class", int64(1), "d", pyvalue.NewList(), "url", "")},
		{struct {
			base
			Host int
		}{base{"hidden", 1}, 5}, pyvalue.NewDict("host", int64(5), "pid", int64(1))},
	}
	for _, test := range tests {
		got, err := Decode(mustAppend(t, test.v, Proto4), Limits{})
		if err != nil || show(got) != show(test.want) {
			t.Errorf("%#v: got %s, %v, not %s", test.v, show(got), err, show(test.want))
		}
	}
}

func TestAppendRefuses(t *testing.T) {
	list := pyvalue.NewList()
	list.Items = append(list.Items, pyvalue.Tuple{list})
	type ring struct{ Next *ring }
	loop := &ring{}
	loop.Next = loop
	own := []any{nil}
	own[0] = own
	dict := pyvalue.NewDict("a", 1)
	dict.Entries[0].Value = map[any]any{1: pyvalue.Tuple{dict}}
	tuple := pyvalue.Tuple{nil}
	tuple[0] = tuple
	names := map[string]any{}
	names["self"] = names
	var self any
	self = &self
	failed := &pyvalue.Exception{Args: pyvalue.Tuple{nil}}
	failed.Args[0] = failed
	type keys map[any]keys
	deep := keys{}
	deep[1] = deep
	tests := []struct {
		v    any
		want string
	}{
		{list, "[0][0]: refers to itself"},
		{own, "[0][0][0][0]"},
		{own, "…: nested deeper than 200, or refers to itself"},
		{dict, "a[1][0]: refers to itself"},
		{tuple, "nested deeper than 200"},
		{names, "self.self.self"},
		{struct{ Env map[string]any }{names}, "env.self.self"},
		{self, "nested deeper than 200"},
		{failed, "nested deeper than 200"},
		{deep, "[1][1][1]"},
		{pyvalue.NewDict(tuple, 1), "pyvalue.Tuple can't be the key"},
		{pyvalue.NewSet(self), "*interface {} can't be the key"},
		{map[*[]any]int{&own: 1, {}: 2}, "can't be the key"},
		{map[any]any{&self: 1}, "can't be the key"},
		{loop, "nested deeper than 200"},
		{map[string]any{"a": []any{1, make(chan int)}}, "a[1]: chan int has no Python counterpart"},
		{func() {}, "func() has no Python counterpart"},
		{"a\xff", "text is not UTF-8 at byte 1"},
		{struct{ Env map[string]string }{map[string]string{"PATH": "\xff"}},
			"env.PATH: text is not UTF-8 at byte 0"},
		{time.Now(), "time.Time has no plain counterpart"},
		{struct{ Wait time.Duration }{1}, "wait: time.Duration has no plain counterpart"},
		{struct{ hidden int }{1}, "has no exported fields"},
		{pyvalue.List{}, "List is sent as *List"},
		{*big.NewInt(1), "big.Int is sent as *big.Int"},
		{pyvalue.NewDict(pyvalue.NewList(), 1), "[list]: *pyvalue.List can't be the key"},
		{pyvalue.NewSet(pyvalue.Tuple{pyvalue.NewSet()}), "pyvalue.Tuple can't be the key"},
		{pyvalue.NewFrozenSet([]any{}), "[]interface {} can't be the key"},
		{map[[1]string]int{{"a"}: 1}, "[1]string can't be the key"},
		{new(big.Int).Lsh(big.NewInt(1), 8*8192), "integer of 8193 bytes"},
	}
	for _, mode := range []Mode{Proto2Both, Proto2, Proto3, Proto4} {
		for _, test := range tests {
			dst := []byte("before")
			got, err := Append(dst, test.v, mode)
			var v *pyvalue.Error
			if !errors.As(err, &v) || !strings.Contains(v.Error(), test.want) {
				t.Errorf("%T: want %q, got %v", test.v, test.want, err)
			}
			if string(got) != "before" {
				t.Errorf("%T: %d bytes were appended", test.v, len(got)-len(dst))
			}
		}
	}
}

// TestAppendOfSharedTextIsBounded passes on what a child could send in few bytes.
func TestAppendOfSharedTextIsBounded(t *testing.T) {
	large := strings.Repeat("x", 1<<19)
	for _, item := range []any{large, []byte(large), pyvalue.Blob(large), named(large)} {
		e := newEncoder(nil, Proto4)
		e.most = 4 << 20
		err := e.value(slices.Repeat(pyvalue.Tuple{item}, 1<<20))
		if err == nil || !strings.Contains(err.Error(), "larger than 4194304 bytes") {
			t.Errorf("got %v", err)
		}
	}
}

func TestAppendCall(t *testing.T) {
	b, err := AppendCall(nil, []any{"a", 1}, map[string]any{"timeout": 2.5, "hosts": []string{"x"}},
		Proto2)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(b, Limits{})
	want := pyvalue.Tuple{pyvalue.Tuple{"a", int64(1)}, pyvalue.NewDict("hosts", pyvalue.NewList("x"),
		"timeout", 2.5)}
	if err != nil || show(got) != show(want) {
		t.Errorf("got %s, %v", show(got), err)
	}
	if b, _ := AppendCall(nil, nil, nil, Proto2); string(b) != "\x80\x02)}\x86." {
		t.Errorf("empty call is %q", b)
	}
	_, err = AppendCall(nil, []any{1, facts{CPUs: nil, Extra: []any{make(chan int)}}}, nil, Proto2)
	if err == nil || !strings.Contains(err.Error(), "args[1].extra[0]: chan int") {
		t.Errorf("got %v", err)
	}
	_, err = AppendCall(nil, nil, map[string]any{"port": make(chan int)}, Proto2)
	if err == nil || !strings.Contains(err.Error(), "kwargs.port: chan int") {
		t.Errorf("got %v", err)
	}
}

func TestModesSayBytesAsTheirReaderDoes(t *testing.T) {
	for mode, want := range map[Mode]string{
		Proto2Both: "\x80\x02c_codecs\nencode\nX\x03\x00\x00\x00a\xc3\xbfX\x06\x00\x00\x00latin1\x86R.",
		Proto2:     "\x80\x02U\x02a\xff.",
		Proto3:     "\x80\x03C\x02a\xff.",
		Proto4:     "\x80\x04C\x02a\xff.",
	} {
		if got := mustAppend(t, []byte("a\xff"), mode); string(got) != want {
			t.Errorf("mode %d: %q", mode, got)
		}
	}
}

func TestAppendOfSmallValuesAllocatesNothing(t *testing.T) {
	args := []any{"os", int64(1 << 40), 2.5, nil, true, []byte("bytes"), pyvalue.Tuple{"a", "b"},
		[]string{"x"}}
	buf := make([]byte, 0, 1000)
	allocs := testing.AllocsPerRun(100, func() {
		if _, err := AppendCall(buf, args, nil, Proto4); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	hidden := secret.Secret("hunter2")
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", hidden, "in",
		struct{ S secret.Secret }{hidden})
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", hidden, "in",
		struct{ S secret.Secret }{hidden})
	j, err := json.Marshal(map[string]any{"s": hidden, "l": []secret.Secret{hidden}})
	if err != nil {
		t.Fatal(err)
	}
	shown := []string{log.String(), string(j), hidden.String(), hidden.GoString()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
		shown = append(shown, fmt.Sprintf(verb, hidden), fmt.Sprintf(verb,
			struct{ S secret.Secret }{hidden}))
	}
	_, err = into[int](t, hidden)
	shown = append(shown, err.Error())
	_, err = into[map[int]int](t, pyvalue.NewDict(hidden, int64(1)))
	shown = append(shown, err.Error())
	_, err = Append(nil, pyvalue.NewDict(hidden, make(chan int)), Proto2)
	shown = append(shown, err.Error())
	for _, s := range shown {
		if strings.Contains(s, "hunter") || strings.Contains(s, "68756e746572") {
			t.Errorf("shown: %s", s)
		}
	}
}

func TestSnake(t *testing.T) {
	for name, want := range map[string]string{
		"FreeMem":  "free_mem",
		"HTTPPort": "http_port",
		"ID":       "id",
		"X":        "x",
		"UserID":   "user_id",
		"IPv4":     "i_pv4",
		"A_B":      "a_b",
		"Größe":    "größe",
	} {
		if got := snake(name); got != want {
			t.Errorf("%s: %s, not %s", name, got, want)
		}
	}
}

// What is shared in Go, but no list of Python's, is written out each time. That is bounded.
func TestAppendIsBounded(t *testing.T) {
	wide := any(0)
	for range 60 {
		wide = []any{wide, wide}
	}
	typed := [][]int{}
	for range 1000 {
		typed = append(typed, make([]int, 1000))
	}
	type pair struct{ A, B any }
	pairs := any(nil)
	for range 60 {
		pairs = &pair{pairs, pairs}
	}
	const limit = 1 << 16
	for name, v := range map[string]any{
		"lists": wide, "structs": pairs, "numbers": typed, "nothing": make([]struct{}, 1<<40),
		"text":   strings.Repeat("x", limit),
		"bytes":  make([]byte, limit),
		"many":   make([]string, limit),
		"floats": make([]float64, limit),
	} {
		e := Encoder{Mode: Proto4, Limit: limit}
		_, err := e.Append(nil, v)
		_, errCall := e.AppendCall(nil, nil, map[string]any{"v": v})
		for _, err := range []error{err, errCall} {
			want := "larger than 65536 bytes"
			if !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v", name, err)
			}
		}
	}
	exact, err := Encoder{Mode: Proto4, Limit: 100}.Append(nil, make([]byte, 100-5))
	if err != nil || len(exact) != 100 {
		t.Errorf("got %d bytes, %v, want 100", len(exact), err)
	}
	_, err = Encoder{Mode: Proto4, Limit: 99}.Append(nil, make([]byte, 100-5))
	if !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}

type taken struct{ handles []any }

func (t *taken) Take(h any) error {
	if t.handles = append(t.handles, h); EngineOf(h) != 7 {
		return errors.New("foreign")
	}
	return nil
}

// Each Context and Sender is seen, wherever it is and whatever its type is called.
func TestHandlesAreSeen(t *testing.T) {
	type mine pyvalue.Sender
	type holder struct {
		Out   pyvalue.Sender
		Inner struct{ To *mine }
	}
	ours, foreign := NewSender(7, 0, 1000), NewSender(8, 0, 1000)
	for name, of := range map[string]func(pyvalue.Sender) any{
		"itself":   func(s pyvalue.Sender) any { return s },
		"*":        func(s pyvalue.Sender) any { return &s },
		"**":       func(s pyvalue.Sender) any { p := &s; return &p },
		"[]any":    func(s pyvalue.Sender) any { return []any{1, s} },
		"[]":       func(s pyvalue.Sender) any { return []pyvalue.Sender{s} },
		"[1]":      func(s pyvalue.Sender) any { return [1]pyvalue.Sender{s} },
		"map":      func(s pyvalue.Sender) any { return map[string]pyvalue.Sender{"a": s} },
		"map[any]": func(s pyvalue.Sender) any { return map[any]any{1: s} },
		"key":      func(s pyvalue.Sender) any { return map[pyvalue.Sender]int{s: 1} },
		"struct":   func(s pyvalue.Sender) any { return holder{Out: s} },
		"other name": func(s pyvalue.Sender) any {
			m := mine(s)
			v := &holder{Out: ours}
			v.Inner.To = &m
			return v
		},
		"embedded":  func(s pyvalue.Sender) any { return struct{ pyvalue.Sender }{s} },
		"Tuple":     func(s pyvalue.Sender) any { return pyvalue.Tuple{s} },
		"List":      func(s pyvalue.Sender) any { return pyvalue.NewList(s) },
		"Dict":      func(s pyvalue.Sender) any { return pyvalue.NewDict(1, s) },
		"Set":       func(s pyvalue.Sender) any { return pyvalue.NewSet(s) },
		"FrozenSet": func(s pyvalue.Sender) any { return pyvalue.NewFrozenSet(s) },
		"Error":     func(s pyvalue.Sender) any { return &pyvalue.Exception{Args: pyvalue.Tuple{s}} },
		"Context":   func(s pyvalue.Sender) any { return []pyvalue.Ref{NewContext(EngineOf(s), 1, "a")} },
	} {
		seen := &taken{}
		b, err := Encoder{Handles: seen}.Append(nil, of(ours))
		if err != nil || len(seen.handles) == 0 || !strings.Contains(string(b), "cmitogen\n") {
			t.Errorf("%s: %d were seen, %v", name, len(seen.handles), err)
		}
		_, err = Encoder{Handles: &taken{}}.Append(nil, of(foreign))
		if err == nil || !strings.Contains(err.Error(), "foreign") {
			t.Errorf("%s: a foreign one: %v", name, err)
		}
		if _, err := (Encoder{Handles: &taken{}}).Append(nil, of(pyvalue.Sender{Handle: 1})); err == nil {
			t.Errorf("%s: one of no engine was sent", name)
		}
	}
	_, err := Encoder{Handles: &taken{}}.AppendCall(nil, []any{1, holder{Out: foreign}}, nil)
	if err == nil || !strings.Contains(err.Error(), "args[1].out: foreign") {
		t.Errorf("place: %v", err)
	}
}

func TestDecodedHandlesAreOfTheEngine(t *testing.T) {
	b := mustAppend(t, pyvalue.Tuple{pyvalue.Sender{Handle: 5}, pyvalue.Ref{ID: 1, Name: "a"}}, Proto4)
	v, err := Decode(b, Limits{Engine: 7})
	if err != nil || EngineOf(v.(pyvalue.Tuple)[0]) != 7 || EngineOf(v.(pyvalue.Tuple)[1]) != 7 {
		t.Errorf("got %v, %v", v, err)
	}
	var into struct {
		S pyvalue.Sender
		C []pyvalue.Ref
	}
	b = mustAppend(t, pyvalue.NewDict("s", pyvalue.Sender{Handle: 5}, "c", pyvalue.Tuple{pyvalue.Ref{
		ID: 2}}), Proto2)
	err = Unmarshal(b, Limits{Engine: 7}, &into)
	if err != nil || EngineOf(into.S) != 7 || EngineOf(into.C[0]) != 7 {
		t.Errorf("got %v, %v", into, err)
	}
}
