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
)

func TestAppendTakesGoTypes(t *testing.T) {
	type point struct{ X, Y int8 }
	text := "s"
	tests := []struct{ v, want any }{
		{int8(-1), int64(-1)}, {uint8(255), int64(255)}, {uint16(1 << 15), int64(1 << 15)}, {uint32(math.MaxUint32), int64(math.MaxUint32)},
		{uint64(math.MaxUint64), new(big.Int).SetUint64(math.MaxUint64)}, {uint(7), int64(7)}, {int32(math.MinInt32), int64(math.MinInt32)},
		{float32(0.5), 0.5}, {complex64(complex(1, 2)), complex(1, 2)}, {named("n"), "n"}, {big.NewInt(5), int64(5)}, {(*big.Int)(nil), nil},
		{&text, "s"}, {(*string)(nil), nil}, {(*List)(nil), nil}, {(*Error)(nil), nil}, {[]string(nil), NewList()}, {[]int(nil), NewList()},
		{map[string]int(nil), NewDict()}, {[]byte(nil), []byte{}}, {json.RawMessage("x"), []byte("x")}, {[2]byte{1, 2}, []byte{1, 2}},
		{&[2]byte{1, 2}, []byte{1, 2}}, {[]uint16{1}, NewList(int64(1))}, {[2]string{"a", "b"}, NewList("a", "b")}, {[]any{1, nil}, NewList(int64(1), nil)},
		{map[string]any{"b": 1, "a": nil}, NewDict("a", nil, "b", int64(1))},
		{map[int]string{2: "b", -1: "a"}, NewDict(int64(-1), "a", int64(2), "b")},
		{map[any]int{"b": 1, 2: 2}, NewDict(int64(2), int64(2), "b", int64(1))},
		{map[[1]byte]bool{{1}: true}, NewDict([]byte{1}, true)},
		{struct{}{}, NewDict()}, {point{1, 2}, NewDict("x", int64(1), "y", int64(2))}, {&point{}, NewDict("x", int64(0), "y", int64(0))},
		{mount{"sda", nil}, NewDict("device", "sda", "bytes", nil)},
		{struct {
			A   int `py:"class"`
			B   int `py:"b,omitempty"`
			C   int `py:"-"`
			D   []point
			URL string
		}{A: 1, C: 2}, NewDict("class", int64(1), "d", NewList(), "url", "")},
		{struct {
			base
			Host int
		}{base{"hidden", 1}, 5}, NewDict("host", int64(5), "pid", int64(1))},
	}
	for _, test := range tests {
		got, err := Decode(mustAppend(t, test.v, Proto4), Limits{})
		if err != nil || show(got) != show(test.want) {
			t.Errorf("%#v: got %s, %v, not %s", test.v, show(got), err, show(test.want))
		}
	}
}

func TestAppendRefuses(t *testing.T) {
	list := NewList()
	list.Items = append(list.Items, Tuple{list})
	type ring struct{ Next *ring }
	loop := &ring{}
	loop.Next = loop
	var own []any
	own = append(own, nil)
	own[0] = own
	tests := []struct {
		v    any
		want string
	}{
		{list, "[0][0]: refers to itself"},
		{own, "nested deeper than 200"},
		{loop, "nested deeper than 200"},
		{map[string]any{"a": []any{1, make(chan int)}}, "a[1]: chan int has no Python counterpart"},
		{func() {}, "func() has no Python counterpart"},
		{"a\xff", "text is not UTF-8 at byte 1"},
		{struct{ Env map[string]string }{map[string]string{"PATH": "\xff"}}, "env.PATH: text is not UTF-8 at byte 0"},
		{time.Now(), "time.Time has no plain counterpart"},
		{struct{ Wait time.Duration }{1}, "wait: time.Duration has no plain counterpart"},
		{struct{ hidden int }{1}, "has no exported fields"},
		{List{}, "List is sent as *List"},
		{*big.NewInt(1), "big.Int is sent as *big.Int"},
		{NewDict(NewList(), 1), "[list]: *pickle.List can't be the key"},
		{NewSet(Tuple{NewSet()}), "pickle.Tuple can't be the key"},
		{NewFrozenSet([]any{}), "[]interface {} can't be the key"},
		{map[[1]string]int{{"a"}: 1}, "[1]string can't be the key"},
		{new(big.Int).Lsh(big.NewInt(1), 8*8192), "integer of 8193 bytes"},
	}
	for _, mode := range []Mode{Proto2Both, Proto2, Proto3, Proto4} {
		for _, test := range tests {
			dst := []byte("before")
			got, err := Append(dst, test.v, mode)
			var v *ValueError
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
	for _, item := range []any{large, []byte(large), Blob(large), named(large)} {
		e := newEncoder(nil, Proto4)
		e.most = 4 << 20
		err := e.value(slices.Repeat(Tuple{item}, 1<<20))
		if err == nil || !strings.Contains(err.Error(), "larger than 4194304 bytes") {
			t.Errorf("got %v", err)
		}
	}
}

func TestAppendCall(t *testing.T) {
	b, err := AppendCall(nil, []any{"a", 1}, map[string]any{"timeout": 2.5, "hosts": []string{"x"}}, Proto2)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(b, Limits{})
	want := Tuple{Tuple{"a", int64(1)}, NewDict("hosts", NewList("x"), "timeout", 2.5)}
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
	args := []any{"os", int64(1 << 40), 2.5, nil, true, []byte("bytes"), Tuple{"a", "b"}, []string{"x"}}
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
	secret := Secret("hunter2")
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", secret, "in", struct{ S Secret }{secret})
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", secret, "in", struct{ S Secret }{secret})
	j, err := json.Marshal(map[string]any{"s": secret, "l": []Secret{secret}})
	if err != nil {
		t.Fatal(err)
	}
	shown := []string{log.String(), string(j), secret.String(), secret.GoString()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
		shown = append(shown, fmt.Sprintf(verb, secret), fmt.Sprintf(verb, struct{ S Secret }{secret}))
	}
	_, err = into[int](t, secret)
	shown = append(shown, err.Error())
	_, err = into[map[int]int](t, NewDict(secret, int64(1)))
	shown = append(shown, err.Error())
	_, err = Append(nil, NewDict(secret, make(chan int)), Proto2)
	shown = append(shown, err.Error())
	for _, s := range shown {
		if strings.Contains(s, "hunter") || strings.Contains(s, "68756e746572") {
			t.Errorf("shown: %s", s)
		}
	}
}

func TestSnake(t *testing.T) {
	for name, want := range map[string]string{
		"FreeMem": "free_mem", "HTTPPort": "http_port", "ID": "id", "X": "x", "UserID": "user_id", "IPv4": "i_pv4", "A_B": "a_b", "Größe": "größe",
	} {
		if got := snake(name); got != want {
			t.Errorf("%s: %s, not %s", name, got, want)
		}
	}
}
