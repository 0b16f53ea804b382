package pickle

import (
	"errors"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/pyvalue"
	"github.com/mitogen-go/mitogen/secret"
)

type base struct {
	Host string
	Pid  int
}

type facts struct {
	base
	OS        string `py:"system"`
	CPUs      []uint8
	FreeMem   uint64
	Load      [3]float64
	Mounts    map[string]*mount
	Extra     any
	Note      *string
	Hidden    string `py:"-"`
	HTTPProxy string
	private   int //lint:ignore U1000 a field that is no attribute
}

type mount struct {
	Device string
	Bytes  *big.Int
}

// into makes a new T of the pickle of v.
func into[T any](t *testing.T, v any) (T, error) {
	t.Helper()
	return intoRaw[T](t, mustAppend(t, v, Proto3))
}

func intoRaw[T any](t *testing.T, b []byte) (T, error) {
	t.Helper()
	var got T
	err := Unmarshal(b, Limits{}, &got)
	return got, err
}

func mustAppend(t *testing.T, v any, m Mode) []byte {
	t.Helper()
	b, err := Append(nil, v, m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestUnmarshalStruct(t *testing.T) {
	huge, _ := new(big.Int).SetString("123456789012345678901234567890", 10)
	dict := pyvalue.NewDict(
		"host", "web1", "pid", int64(7), "system", "Linux", "cpus", pyvalue.Tuple{int64(1), int64(255)},
		"free_mem", new(big.Int).SetUint64(1<<63), "load", pyvalue.NewList(0.5, int64(1), 2.0),
		"mounts", pyvalue.NewDict("/", pyvalue.NewDict("DEVICE", "sda1", "bytes", huge), "/none", nil),
		"extra", pyvalue.NewList(int64(1)), "note", nil, "hidden", "x", "private", int64(3), "unknown",
		int64(1),
		"httpProxy", "proxy", int64(5), "not text",
	)
	got, err := into[facts](t, dict)
	if err != nil {
		t.Fatal(err)
	}
	want := facts{
		base: base{"web1", 7}, OS: "Linux", CPUs: []uint8{1, 255}, FreeMem: 1 << 63,
		Load:   [3]float64{0.5, 1, 2},
		Mounts: map[string]*mount{"/": {"sda1", huge}, "/none": nil}, Extra: pyvalue.NewList(int64(1)),
		HTTPProxy: "proxy",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestUnmarshalLeavesFieldsWithoutAKey(t *testing.T) {
	got := base{"web1", 1}
	if err := Unmarshal(mustAppend(t, pyvalue.NewDict("pid", int64(2)), Proto4), Limits{},
		&got); err != nil ||
		got != (base{"web1", 2}) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestUnmarshalErrorsNameThePlace(t *testing.T) {
	type outer struct{ Facts facts }
	tests := []struct {
		got  error
		want string
	}{
		{second(into[outer](t, pyvalue.NewDict("facts",
			pyvalue.NewDict("cpus", pyvalue.NewList(int64(1), int64(2), int64(3), int64(300)))))),
			"facts.cpus[3]: 300 does not fit in uint8"},
		{second(into[facts](t, pyvalue.NewDict("mounts", pyvalue.NewDict("/a b", pyvalue.NewDict("bytes",
			1.5))))),
			`mounts["/a b"].bytes: 1.5 does not fit in *big.Int`},
		{second(into[map[int64][]string](t, pyvalue.NewDict(int64(5), pyvalue.NewList("a",
			[]byte("b"))))),
			"[5][1]: bytes does not fit in string"},
		{second(into[map[string]int](t, pyvalue.NewDict(int64(5), int64(1)))),
			"key [5]: 5 does not fit in string"},
		{second(into[map[any]int](t, pyvalue.NewDict([]byte("k"), int64(1)))),
			"key bytes does not fit as a key of a Go map"},
		{second(into[map[any]int](t, pyvalue.NewDict(pyvalue.Tuple{}, int64(1)))),
			"key tuple does not fit as a key of a Go map"},
		{second(into[map[any]int](t, pyvalue.NewDict(new(big.Int).Lsh(big.NewInt(1), 70), int64(1)))),
			"key int does not fit as a key of a Go map"},
		{second(into[[2]int](t, pyvalue.NewList(int64(1)))), "1 items do not fit in [2]int"},
		{second(into[[2]byte](t, []byte("abc"))), "3 bytes do not fit in [2]uint8"},
		{second(into[int](t, true)), "true does not fit in int"},
		{second(into[int](t, 1.0)), "1 does not fit in int"},
		{second(into[int](t, nil)), "None does not fit in int"},
		{second(into[int8](t, int64(128))), "128 does not fit in int8"},
		{second(into[uint](t, int64(-1))), "-1 does not fit in uint"},
		{second(into[int64](t, new(big.Int).Lsh(big.NewInt(1), 64))),
			"18446744073709551616 does not fit in int64"},
		{second(into[uint64](t, new(big.Int).Lsh(big.NewInt(1), 64))),
			"18446744073709551616 does not fit in uint64"},
		{second(into[float64](t, int64(1<<53+1))), "9007199254740993 does not fit in float64"},
		{second(into[float64](t, int64(1<<63-1))), "9223372036854775807 does not fit in float64"},
		{second(into[float32](t, 0.1)), "0.1 does not fit in float32"},
		{second(into[float64](t, complex(1, 0))), "(1+0i) does not fit in float64"},
		{second(into[complex64](t, complex(0.1, 0))), "(0.1+0i) does not fit in complex64"},
		{second(into[time.Duration](t, int64(30))),
			"30 does not fit in time.Duration, as it has no unit"},
		{second(into[*time.Duration](t, 1.5)), "1.5 does not fit in time.Duration, as it has no unit"},
		{second(into[[]time.Duration](t, pyvalue.Tuple{int64(0)})),
			"[0]: 0 does not fit in time.Duration, as it has no unit"},
		{second(into[map[time.Duration]int](t, pyvalue.NewDict(int64(1), int64(1)))),
			"key [1]: 1 does not fit in time.Duration, as it has no unit"},
		{second(into[struct{ Timeout time.Duration }](t, pyvalue.NewDict("timeout", int64(30)))),
			"timeout: 30 does not fit in time.Duration, as it has no unit"},
		{second(into[time.Time](t, int64(30))), "30 does not fit in time.Time"},
		{second(into[time.Time](t, pyvalue.NewDict())), "dict does not fit in time.Time"},
		{second(into[bool](t, int64(1))), "1 does not fit in bool"},
		{second(into[string](t, nil)), "None does not fit in string"},
		{second(into[string](t, secret.Secret("hunter2"))), "mitogen.Secret does not fit in string"},
		{second(into[[]byte](t, "text")), "text does not fit in []uint8"},
		{second(into[pyvalue.Tuple](t, pyvalue.NewList())), "list does not fit in pyvalue.Tuple"},
		{second(into[*pyvalue.List](t, pyvalue.Tuple{})), "tuple does not fit in pyvalue.List"},
		{second(into[[]int](t, pyvalue.NewDict())), "dict does not fit in []int"},
		{second(into[map[string]int](t, pyvalue.NewSet())), "set does not fit in map[string]int"},
		{second(into[base](t, pyvalue.NewList())), "list does not fit in pickle.base"},
		{second(into[pyvalue.Ref](t, pyvalue.NewDict("id", int64(5)))),
			"dict does not fit in pyvalue.Ref"},
		{second(into[error](t, "text")), "text does not fit in error"},
		{second(into[chan int](t, nil)), "None does not fit in chan int"},
		{second(intoRaw[string](t, []byte("\x80\x02U\x01\xff."))),
			"bytes that are not UTF-8 do not fit in string"},
	}
	for _, test := range tests {
		var v *pyvalue.Error
		if !errors.As(test.got, &v) {
			t.Errorf("want %q, got %v", test.want, test.got)
		} else if got, _, _ := strings.Cut(v.Error(), " (decode"); got != test.want {
			t.Errorf("want %q, got %q", test.want, v)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func check[T any](t *testing.T, v any, want T) {
	t.Helper()
	got, err := into[T](t, v)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v, %v, not %#v", got, err, want)
	}
}

type named string

func TestUnmarshalFits(t *testing.T) {
	one, text := int64(1), "s"
	check(t, int64(-128), int8(-128))
	check(t, int64(1<<53), float64(1<<53))
	check(t, new(big.Int).Lsh(big.NewInt(1), 200), 0x1p200)
	check(t, int64(5), big.NewInt(5))
	check(t, nil, (*big.Int)(nil))
	check(t, 0.5, float32(0.5))
	check(t, int64(2), complex(2, 0))
	check(t, complex(0.5, 1), complex64(complex(0.5, 1)))
	check(t, "s", named("s"))
	check(t, "s", &text)
	check(t, nil, (*string)(nil))
	check(t, nil, []int(nil))
	check(t, nil, map[string]int(nil))
	check(t, nil, error(nil))
	check[any](t, nil, nil)
	check[any](t, pyvalue.NewList(int64(1)), pyvalue.NewList(int64(1)))
	check(t, int64(1), &one)
	check(t, pyvalue.NewList(), []string{})
	check(t, pyvalue.Tuple{"a"}, []string{"a"})
	check(t, pyvalue.NewSet("a"), []string{"a"})
	check(t, pyvalue.NewFrozenSet("a"), map[string]struct{}{"a": {}})
	check(t, pyvalue.NewList(pyvalue.Tuple{"a"}, nil), [][]string{{"a"}, nil})
	check(t, []byte("ab"), []byte("ab"))
	check(t, []byte("ab"), [2]byte{'a', 'b'})
	check(t, pyvalue.Blob("ab"), []byte("ab"))
	check(t, []byte("ab"), pyvalue.Blob("ab"))
	check(t, pyvalue.Blob("ab"), pyvalue.Blob("ab"))
	check(t, secret.Secret("x"), secret.Secret("x"))
	check(t, "x", secret.Secret("x"))
	check(t, pyvalue.Ref{ID: 1, Name: "a"}, pyvalue.Ref{ID: 1, Name: "a"})
	check(t, pyvalue.Sender{Context: 1, Handle: 2}, &pyvalue.Sender{Context: 1, Handle: 2})
	check(t, pyvalue.NewDict("a", nil), pyvalue.NewDict("a", nil))
	check(t, pyvalue.NewDict(pyvalue.Tuple{int64(1), "b"}, int64(3)), map[[2]any]int{{int64(1),
		"b"}: 3})
	check(t, pyvalue.NewDict(int64(1), "a", "k", true), map[any]any{int64(1): "a", "k": true})
	check[error](t, &pyvalue.Exception{Type: "T"}, &pyvalue.Exception{Type: "T"})
	check(t, pyvalue.NewDict("a", int64(1), "b", pyvalue.NewList(nil)),
		map[string]any{"a": int64(1), "b": pyvalue.NewList(nil)})
}

func TestTheLastOfEqualKeysCounts(t *testing.T) {
	d := pyvalue.NewDict("a", int64(1), "a", int64(2))
	if v, ok := d.Get("a"); v != int64(2) || !ok {
		t.Errorf("Get: %v %v", v, ok)
	}
	check(t, d, map[string]int{"a": 2})
	if _, ok := d.Get("b"); ok {
		t.Error("found what isn't there")
	}
}

func TestGetTakesAnyKey(t *testing.T) {
	huge := new(big.Int).Lsh(big.NewInt(1), 70)
	for _, key := range []any{nil, true, int64(1), 1.5, "a", []byte("a"), pyvalue.Tuple{"a",
		[]byte("b")},
		huge, pyvalue.Ref{ID: 1, Name: "a"}} {
		if _, ok := pyvalue.NewDict("x", nil, key, nil).Get(key); !ok {
			t.Errorf("%v not found", key)
		}
	}
}

// TestStrOfPython2 fits text and bytes.
func TestStrOfPython2(t *testing.T) {
	list := []byte("\x80\x02](U\x02abU\x01\xffe.")
	if got, err := intoRaw[[][]byte](t, list); err != nil || string(got[0]) != "ab" ||
		string(got[1]) != "\xff" {
		t.Errorf("bytes: %q, %v", got, err)
	}
	if got, err := intoRaw[[]any](t, list); err != nil ||
		!reflect.DeepEqual(got, []any{"ab", []byte{255}}) {
		t.Errorf("any: %#v, %v", got, err)
	}
	if got, err := intoRaw[*pyvalue.List](t, list); err != nil ||
		!reflect.DeepEqual(got, pyvalue.NewList("ab", []byte{255})) {
		t.Errorf("list: %#v, %v", got, err)
	}
	if _, err := intoRaw[[]string](t, list); err == nil ||
		!strings.Contains(err.Error(), "[1]: bytes that are not UTF-8") {
		t.Errorf("text: %v", err)
	}
	if got, err := intoRaw[base](t, []byte("\x80\x02}(U\x04hostU\x01aU\x03pidK\x05u.")); err != nil ||
		got != (base{"a", 5}) {
		t.Errorf("struct: %v, %v", got, err)
	}
	if got, err := intoRaw[pyvalue.Sender](t, []byte("\x80\x02}U\x04hostU\x01as.")); err == nil {
		t.Errorf("a dict made a Sender: %v", got)
	}
	if got, err := intoRaw[pyvalue.Ref](t,
		[]byte("\x80\x02cmitogen\nContext\nK\x05U\x01a\x86R.")); err != nil ||
		got != (pyvalue.Ref{ID: 5, Name: "a"}) {
		t.Errorf("context: %v, %v", got, err)
	}
	if got, err := intoRaw[map[string]any](t,
		[]byte("\x80\x02}U\x01kcmitogen\nError\n(U\x01mU\x01tU\x00U\x00U\x01a\x85tRs.")); err != nil ||
		!reflect.DeepEqual(got["k"], &pyvalue.Exception{Module: "m", Type: "t",
			Args: pyvalue.Tuple{"a"}}) {
		t.Errorf("error: %#v, %v", got, err)
	}
}

func TestUnmarshalWantsAPointer(t *testing.T) {
	for _, into := range []any{nil, 1, (*int)(nil)} {
		if err := Unmarshal([]byte("\x80\x02K\x01."), Limits{}, into); err == nil {
			t.Errorf("%T was taken", into)
		}
	}
}

type celsius struct{ degrees float64 }

func TestRegister(t *testing.T) {
	Register(func(c celsius) (float64, error) { return c.degrees, nil },
		func(f float64) (celsius, error) {
			if f < -273.15 {
				return celsius{}, errors.New("too cold")
			}
			return celsius{f}, nil
		})
	b := mustAppend(t, map[celsius][]celsius{{1}: {{20.5}}}, Proto4)
	if got, err := intoRaw[map[celsius][]celsius](t, b); err != nil ||
		got[celsius{1}][0].degrees != 20.5 {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := into[celsius](t, -300.0); err == nil || !strings.Contains(err.Error(), "too cold") {
		t.Errorf("got %v", err)
	}
	if _, err := into[celsius](t, "warm"); err == nil ||
		!strings.Contains(err.Error(), "text does not fit in pickle.celsius") {
		t.Errorf("got %v", err)
	}
}

func TestDecodeError(t *testing.T) {
	b := mustAppend(t, pyvalue.Tuple{"builtins", "ValueError", "no", "Traceback", pyvalue.Tuple{"no"}},
		Proto4)
	e, err := DecodeError(b, Limits{})
	if err != nil || e.Error() != "ValueError: no" || !reflect.DeepEqual(e.Args, pyvalue.Tuple{"no"}) {
		t.Errorf("got %v, %v", e, err)
	}
	e, err = DecodeError(mustAppend(t, pyvalue.Tuple{"app.errors", "Broken", "", "", nil}, Proto2),
		Limits{})
	if err != nil || e.Error() != "app.errors.Broken" || e.Args != nil {
		t.Errorf("got %v, %v", e, err)
	}
	for _, v := range []any{nil, pyvalue.Tuple{}, pyvalue.Tuple{"a", "b", "c", "d", "e"},
		pyvalue.Tuple{1, "b", "c", "d", nil}} {
		if _, err := DecodeError(mustAppend(t, v, Proto4), Limits{}); err == nil {
			t.Errorf("%v was taken", v)
		}
	}
}

// What comes can be sent back, and what can't be sent doesn't come.
func TestResultsCanBeArguments(t *testing.T) {
	type seconds time.Duration
	for _, v := range []any{"a\xed\xa0\x80b", "\xed\xb2\x80", int64(30), pyvalue.Tuple{"\xed\xbf\xbf"},
		nil} {
		check(t, v, v)
	}
	check(t, "\xed\xa0\x80", named("\xed\xa0\x80"))
	check(t, int64(30), seconds(30))
	check(t, nil, (*time.Duration)(nil))
	check(t, pyvalue.NewList(), []time.Duration{})
	for _, v := range []any{time.Second, []time.Duration{1}, map[time.Duration]int{1: 1},
		new(time.Duration),
		struct{ T time.Time }{}, time.Now()} {
		if _, err := Append(nil, v, Proto4); err == nil {
			t.Errorf("%T was sent", v)
		}
	}
}
