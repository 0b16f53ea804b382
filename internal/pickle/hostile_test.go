package pickle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// bomb returns operations that leave a value which doubles n times; pair makes one of two
// references.
func bomb(n int, pair string) string {
	var b strings.Builder
	b.WriteString(")\x940")
	for i := range n {
		fmt.Fprintf(&b, pair+"\x940", string(rune(i)), string(rune(i)))
	}
	return b.String() + "h" + string(rune(n))
}

// setBomb makes sets of one long list, again and again.
func setBomb() string {
	list := "\x80\x02](" + strings.Repeat("N", 1<<20) + "eq\x00"
	return list + "c__builtin__\nset\nq\x01" + strings.Repeat("0h\x01h\x00\x85R", 1<<16) + "."
}

// textBomb makes bytes of one long text, again and again.
func textBomb(callable, args string) string {
	text := "X\x00\x00\x10\x00" + strings.Repeat("x", 1<<20)
	return "\x80\x02(" + text + "q\x00c" + callable + "q\x01" +
		strings.Repeat("h\x01h\x00"+args+"R", 1<<15) + "t."
}

func longText(op string, size uint32) string {
	return "\x80\x04" + op + string(binary.LittleEndian.AppendUint32(nil, size)) + "x."
}

var hostile = []struct {
	name, b string
	want    error  // or
	text    string // part of the error
}{
	{"empty", "", nil, "not a pickle"},
	{"no protocol", "N.", nil, "not a pickle"},
	{"protocol 1", "\x80\x01N.", nil, "not a pickle"},
	{"protocol 6", "\x80\x06N.", nil, "not a pickle"},
	{"no stop", "\x80\x02N", ErrTruncated, ""},
	{"nothing at the end", "\x80\x02.", nil, "not one value"},
	{"two values", "\x80\x02NN.", nil, "not one value"},
	{"open mark", "\x80\x02N(.", nil, "not one value"},
	{"more behind", "\x80\x02N.N", nil, "1 bytes behind"},
	{"second protocol", "\x80\x02\x80\x02N.", nil, "opcode 0x80 is not allowed"},
	{"text of 4 GiB", longText("X", 0xffffffff), ErrTruncated, ""},
	{"bytes of 4 GiB", longText("B", 0xfffffff0), ErrTruncated, ""},
	{"bytes of minus 1", longText("T", 0xffffffff), ErrTruncated, ""},
	{"bytes of 1 TiB", "\x80\x04\x8e\x00\x00\x00\x00\x00\x01\x00\x00x.", ErrTruncated, ""},
	{"bytes of minus 1, 8 bytes", "\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\xffx.", ErrTruncated, ""},
	{"bytearray of 1 TiB", "\x80\x05\x96\x00\x00\x00\x00\x00\x01\x00\x00x.", ErrTruncated, ""},
	{"frame of 1 TiB", "\x80\x04\x95\x00\x00\x00\x00\x00\x01\x00\x00N.", ErrTruncated, ""},
	{"integer of 2 GiB", longText("\x8b", 0x7fffffff), nil, "integer of 2147483647 bytes"},
	{"integer of minus 1", longText("\x8b", 0xffffffff), nil, "integer of 4294967295 bytes"},
	{"integer of 8 KiB and 1", longText("\x8b", 8193), nil, "more than 8192"},
	{"decimal of many digits", "\x80\x02I" + strings.Repeat("9", 400) + "\n.", nil, "64 bits"},
	{"decimal without end", "\x80\x02I" + strings.Repeat("9", 4000), ErrTruncated, ""},
	{"text LONG", "\x80\x02L5L\n.", nil, "opcode 0x4c is not allowed"},
	{"text that isn't UTF-8", "\x80\x04\x8c\x02a\xff.", nil, "not UTF-8"},
	{"overlong text", "\x80\x04\x8c\x02\xc0\x80.", nil, "not UTF-8"},
	{"empty stack", "\x80\x020N.", nil, "stack is empty"},
	{"tuple below a mark", "\x80\x02N(\x85.", nil, "stack is empty"},
	{"no mark", "\x80\x02t.", nil, "no mark"},
	{"append to None", "\x80\x02NNa.", nil, "isn't a list"},
	{"append below a mark", "\x80\x02](Na.", nil, "stack is empty"},
	{"items of a list", "\x80\x02]NNs.", nil, "isn't a dict"},
	{"key without a value", "\x80\x02}(Nu.", nil, "key without a value"},
	{"add to a list", "\x80\x04](N\x90.", nil, "isn't a set"},
	{"memo not set", "\x80\x02h\x00.", nil, "not set"},
	{"memo far away", "\x80\x02Nr\xff\xff\xff\x7f.", nil, "out of range"},
	{"memo of 2**31", "\x80\x02Nj\x00\x00\x00\x80.", nil, "not set"},
	{"memo of nothing", "\x80\x04\x94N.", nil, "stack is empty"},
	{"list in itself", "\x80\x02]q\x00h\x00a.", ErrSelfReference, ""},
	{"dict in itself", "\x80\x02}q\x00(K\x01h\x00u.", ErrSelfReference, ""},
	{"tuple in itself", "\x80\x02]q\x00(h\x00\x85e.", ErrSelfReference, ""},
	{"201 lists", "\x80\x02" + strings.Repeat("]", 201) + strings.Repeat("a", 200) + ".", ErrTooDeep,
		""},
	{"201 tuples", "\x80\x02N" + strings.Repeat("\x85", 201) + ".", ErrTooDeep, ""},
	{"many lists", "\x80\x02" + strings.Repeat("]", 1<<17) + strings.Repeat("a", 1<<17-1) + ".",
		ErrTooDeep, ""},
	{"a million marks", "\x80\x02" + strings.Repeat("(", 1<<20) + ".", ErrTooDeep, ""},
	{"a million values", "\x80\x02](" + strings.Repeat("N", 1<<20) + "e.", ErrTooManyNodes, ""},
	{"a million values, popped", "\x80\x02N" + strings.Repeat("N0", 1<<20) + ".", ErrTooManyNodes, ""},
	{"a million memos", "\x80\x04N" + strings.Repeat("\x94", 1<<20) + ".", nil, "more memo entries"},
	{"doubling tuples", "\x80\x04" + bomb(60, "h%sh%s\x86") + ".", ErrTooManyNodes, ""},
	{"doubling lists", "\x80\x04" + bomb(60, "](h%sh%se") + ".", ErrTooManyNodes, ""},
	{"doubling frozensets", "\x80\x04" + bomb(60, "(h%sh%s\x91") + ".", ErrTooManyNodes, ""},
	{"doubling key", "\x80\x04}" + bomb(60, "h%sh%s\x86") + "Ns.", ErrTooManyNodes, ""},
	{"list as key", "\x80\x02}]Ns.", nil, "list as a key"},
	{"dict in a tuple as key", "\x80\x02}}\x85Ns.", nil, "dict as a key"},
	{"set in a set", "\x80\x04\x8f(\x8f\x90.", nil, "set as a key"},
	{"list in a frozenset", "\x80\x04(]\x91.", nil, "list as a key"},
	{"list in a set of protocol 2", "\x80\x02cbuiltins\nset\n](]e\x85R.", nil, "list as a key"},
	{"sets of one list", setBomb(), ErrTooManyNodes, ""},
	{"encodes of one text", textBomb("_codecs\nencode\n", "X\x06\x00\x00\x00latin1\x86"),
		ErrTooManyNodes, ""},
	{"bytearrays of one text", textBomb("builtins\nbytearray\n", "\x85"), ErrTooManyNodes, ""},
	{"blobs of one text", textBomb("mitogen\nBlob\n", "\x85"), ErrTooManyNodes, ""},
	{"set itself", "\x80\x02c__builtin__\nset\n.", nil, "__builtin__.set is not a plain value"},
	{"set of text", "\x80\x02c__builtin__\nset\nX\x01\x00\x00\x00a\x85R.", nil,
		"__builtin__.set: wrong arguments"},
	{"complex of text", "\x80\x02c__builtin__\ncomplex\nX\x01\x00\x00\x00aK\x01\x86R.", nil,
		"wrong arguments"},
	{"encode to utf-8", "\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00utf-8\x86R.",
		nil, "wrong arguments"},
	{"encode of more than Latin-1",
		"\x80\x02c_codecs\nencode\nX\x03\x00\x00\x00\xe2\x82\xacX\x06\x00\x00\x00latin1\x86R.", nil,
		"not Latin-1"},
	{"call of a value", "\x80\x02N)R.", nil, "isn't a class"},
	{"call with a list", "\x80\x02c__builtin__\nset\n]R.", nil, "isn't a class"},
	{"context with text for an id",
		"\x80\x02cmitogen\nContext\nX\x01\x00\x00\x00aX\x00\x00\x00\x00\x86R.", nil, "wrong arguments"},
	{"context with a negative id",
		"\x80\x02cmitogen\nContext\nJ\xff\xff\xff\xffX\x00\x00\x00\x00\x86R.", nil, "wrong arguments"},
	{"error with three fields", "\x80\x02cmitogen\nError\nNNN\x87R.", nil, "3 fields"},
	{"os.system", "\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R.", nil,
		"os.system is not a plain value"},
	{"OrderedDict", "\x80\x02ccollections\nOrderedDict\n)R.", nil,
		"collections.OrderedDict is not a plain value"},
	{"OrderedDict, protocol 4", "\x80\x04\x8c\x0bcollections\x94\x8c\x0bOrderedDict\x94\x93)R.", nil,
		"collections.OrderedDict is not a plain value"},
	{"escapes in a name", "\x80\x02c\x1b[31m\nx\n.", nil, `"\x1b[31m.x" is not a plain value`},
	{"name without end", "\x80\x02c" + strings.Repeat("a", 1<<20), ErrTruncated, ""},
	{"global named by numbers", "\x80\x04K\x01K\x02\x93.", nil, "not text"},
	{"instance", "\x80\x02(i__main__\nX\n.", nil, "opcode 0x69 is not allowed"},
	{"build", "\x80\x02}}b.", nil, "opcode 0x62 is not allowed"},
	{"newobj", "\x80\x02N)\x81.", nil, "opcode 0x81 is not allowed"},
	{"persistent id", "\x80\x02Pid\n.", nil, "opcode 0x50 is not allowed"},
	{"extension", "\x80\x02\x82\x01.", nil, "opcode 0x82 is not allowed"},
	{"duplicate", "\x80\x02N2\x86.", nil, "opcode 0x32 is not allowed"},
	{"buffer out of band", "\x80\x05\x97.", nil, "opcode 0x97 is not allowed"},
	{"escape as an opcode", "\x80\x02\x1b[31m", nil, "opcode 0x1b is not allowed"},
}

func TestHostilePicklesAreRefused(t *testing.T) {
	lim := Limits{Nodes: 1 << 18} // less than usual, so that the test is quick
	for _, test := range hostile {
		before := allocated()
		_, err := Decode([]byte(test.b), lim)
		if err == nil || test.want != nil && !errors.Is(err, test.want) ||
			!strings.Contains(err.Error(), test.text) {
			t.Errorf("decode %s: got %v, want error %v with text %q", test.name, err, test.want, test.text)
		}
		// What is allocated may be a multiple of what came in and of the limits, but not of what was
		// announced.
		if got, most := allocated()-before, uint64(64*len(test.b)+(64<<20)); got > most {
			t.Errorf("%s: %d MiB allocated for %d bytes", test.name, got>>20, len(test.b))
		}
		var into map[string][][]int
		if err := Unmarshal([]byte(test.b), lim, &into); err == nil {
			t.Errorf("%s: unmarshalled", test.name)
		}
	}
}

func TestNodeLimit(t *testing.T) {
	list := func(n int) []byte { return []byte("\x80\x02](" + strings.Repeat("N", n) + "e.") }
	if _, err := Decode(list(4<<20-1), Limits{}); err != nil {
		t.Errorf("4,194,304 nodes: %v", err)
	}
	if _, err := Decode(list(4<<20), Limits{}); !errors.Is(err, ErrTooManyNodes) {
		t.Errorf("one more: %v", err)
	}
}

// TestSmallHostilePicklesCostLittle is the same for those that are small themselves.
func TestSmallHostilePicklesCostLittle(t *testing.T) {
	for _, test := range hostile {
		if len(test.b) > 1000 {
			continue
		}
		before := allocated()
		Decode([]byte(test.b), Limits{})
		if got := allocated() - before; got > 1<<20 {
			t.Errorf("%s: %d KiB allocated for %d bytes", test.name, got>>10, len(test.b))
		}
	}
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

func TestEveryTruncationIsRefused(t *testing.T) {
	for _, mode := range []Mode{Proto2Both, Proto2, Proto3, Proto4} {
		for _, s := range samples() {
			b, err := Append(nil, s.want, mode)
			if err != nil {
				t.Fatal(err)
			}
			for n := range min(len(b), 300) {
				if _, err := Decode(b[:n:n], Limits{}); err == nil {
					t.Errorf("%s, mode %d: %d of %d bytes were taken", s.py, mode, n, len(b))
				}
			}
		}
	}
}

func TestGlobalErrorNamesTheGlobal(t *testing.T) {
	_, err := Decode([]byte("\x80\x02cdatetime\ndate\n."), Limits{})
	var e *GlobalError
	if !errors.As(err, &e) || e.Module != "datetime" || e.Name != "date" {
		t.Errorf("got %v", err)
	}
}

func TestLimitsCanBeSet(t *testing.T) {
	b := []byte("\x80\x02](]]e.")
	for _, lim := range []Limits{{Depth: 1}, {Nodes: 2}} {
		if _, err := Decode(b, lim); err == nil {
			t.Errorf("%+v: taken", lim)
		}
	}
	if _, err := Decode(b, Limits{Depth: 2, Nodes: 3}); err != nil {
		t.Error(err)
	}
	if _, err := Decode([]byte("\x80\x02\x8a\x03abc."), Limits{IntBytes: 2}); err == nil {
		t.Error("an integer that is too long was taken")
	}
}

// TestUnmarshalOfSharedValuesIsBounded takes a small pickle with a list that is shared a lot into
// large Go values.
func TestUnmarshalOfSharedValuesIsBounded(t *testing.T) {
	type large struct {
		A    *int
		Rest [4096]byte
	}
	list := "](" + strings.Repeat("}", 1000) + "eq\x00"
	b := "\x80\x02(" + list + strings.Repeat("h\x00", 3000) + "t."
	var into [][]large
	if err := Unmarshal([]byte(b), Limits{}, &into); !errors.Is(err, errNoRoom) {
		t.Errorf("got %v", err)
	}
}
