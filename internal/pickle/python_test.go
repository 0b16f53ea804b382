package pickle

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"math"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/testpython"
	"github.com/mitogen-go/mitogen/pyvalue"
	"github.com/mitogen-go/mitogen/secret"
)

var update = flag.Bool("update", false,
	"record testdata/golden from the interpreters on this machine")

// A sample is a value in Python and in Go.
type sample struct {
	py      string // expression that Python 2 and 3 read alike
	want    any    // what Decode returns
	fromPy2 any    // the same from Python 2, where it differs
	oneWay  bool   // want is sent as something else
}

func samples() []sample {
	power := func(n uint) *big.Int { return new(big.Int).Lsh(big.NewInt(1), n) }
	minus := func(n *big.Int) *big.Int { return new(big.Int).Neg(n) }
	shared := pyvalue.NewList(int64(1))
	both := pyvalue.NewDict("a", shared, "b", shared)
	return []sample{
		{py: "None"},
		{py: "True", want: true},
		{py: "False", want: false},
		{py: "0", want: int64(0)},
		{py: "255", want: int64(255)},
		{py: "256", want: int64(256)},
		{py: "4242", want: int64(4242)},
		{py: "65535", want: int64(65535)},
		{py: "65536", want: int64(65536)},
		{py: "-1", want: int64(-1)},
		{py: "2**31-1", want: int64(1<<31 - 1)},
		{py: "-2**31", want: int64(-1 << 31)},
		{py: "2**31", want: int64(1 << 31)},
		{py: "2**40", want: int64(1 << 40)},
		{py: "-2**40", want: int64(-1 << 40)},
		{py: "2**63-1", want: int64(math.MaxInt64)},
		{py: "-2**63", want: int64(math.MinInt64)},
		{py: "2**63", want: power(63)},
		{py: "-2**63-1", want: new(big.Int).Sub(minus(power(63)), big.NewInt(1))},
		{py: "2**64-1", want: new(big.Int).Sub(power(64), big.NewInt(1))},
		{py: "-2**71", want: minus(power(71))},
		{py: "2**2000", want: power(2000)},
		{py: "2**3000", want: power(3000)},
		{py: "-2**3000", want: minus(power(3000))},
		{py: "-2**2039", want: minus(power(2039))},
		{py: "-2**2040", want: minus(power(2040))},
		{py: "1.5", want: 1.5},
		{py: "-0.0", want: math.Copysign(0, -1)},
		{py: "float('inf')", want: math.Inf(1)},
		{py: "float('nan')", want: math.NaN()},
		{py: "5e-324", want: 5e-324},
		{py: "complex(1.5, -2)", want: complex(1.5, -2)},
		{py: "u''", want: ""},
		{py: `u'caf\xe9 \u20ac \U0001f600 \0'`, want: "café € 😀 \x00"},
		{py: `u'\ud800'`, want: "\xed\xa0\x80"},
		{py: `u'a\udcffb\udfff'`, want: "a\xed\xb3\xbfb\xed\xbf\xbf"},
		{py: "u'x'*255", want: strings.Repeat("x", 255)},
		{py: "u'x'*256", want: strings.Repeat("x", 256)},
		{py: "u'\\xe9'*70000", want: strings.Repeat("é", 70000)},
		{py: "b''", want: []byte{}, fromPy2: ""},
		{py: `b'\xff\0\x80a'`, want: []byte("\xff\x00\x80a")},
		{py: "b'abc'", want: []byte("abc"), fromPy2: "abc"},
		{py: `b'\xff'*255`, want: bytes.Repeat([]byte{255}, 255)},
		{py: `b'\xff'*256`, want: bytes.Repeat([]byte{255}, 256)},
		{py: `b'\xff\n'*40000`, want: bytes.Repeat([]byte("\xff\n"), 40000)},
		{py: "bytearray()", want: []byte{}, oneWay: true},
		{py: `bytearray(b'a\xff')`, want: []byte("a\xff"), oneWay: true},
		{py: "()", want: pyvalue.Tuple{}},
		{py: "(1,)", want: pyvalue.Tuple{int64(1)}},
		{py: "(1, 2)", want: pyvalue.Tuple{int64(1), int64(2)}},
		{py: "(1, 2, 3)", want: pyvalue.Tuple{int64(1), int64(2), int64(3)}},
		{py: "(1, 2, 3, None)", want: pyvalue.Tuple{int64(1), int64(2), int64(3), nil}},
		{py: "[]", want: pyvalue.NewList()},
		{py: "[1]", want: pyvalue.NewList(int64(1))},
		{py: "[1, [2, [3]]]", want: pyvalue.NewList(int64(1), pyvalue.NewList(int64(2),
			pyvalue.NewList(int64(3))))},
		{py: "[0]*2500", want: pyvalue.NewList(slices.Repeat([]any{int64(0)}, 2500)...)},
		{py: "{}", want: pyvalue.NewDict()},
		{py: "{u'a': 1}", want: pyvalue.NewDict("a", int64(1))},
		{py: "{1: u'a', (2, u'b'): None}", want: pyvalue.NewDict(int64(1), "a", pyvalue.Tuple{int64(2),
			"b"}, nil)},
		{py: `{b'\xff': 2.5, u'k': [True]}`, want: pyvalue.NewDict([]byte{255}, 2.5, "k",
			pyvalue.NewList(true))},
		{py: "set()", want: pyvalue.NewSet()},
		{py: "set([1, u'a'])", want: pyvalue.NewSet(int64(1), "a")},
		{py: "frozenset()", want: pyvalue.NewFrozenSet()},
		{py: "frozenset([1, (2,)])", want: pyvalue.NewFrozenSet(int64(1), pyvalue.Tuple{int64(2)})},
		{py: "{frozenset([3]): set([frozenset()])}",
			want: pyvalue.NewDict(pyvalue.NewFrozenSet(int64(3)), pyvalue.NewSet(pyvalue.NewFrozenSet()))},
		{py: "set(range(1500))", want: pyvalue.NewSet(numbers(1500)...)},
		{py: "(lambda x: [x, x])([1])", want: pyvalue.NewList(shared, shared)},
		{py: "(lambda x: (lambda d: (d, x, d))({u'a': x, u'b': x}))([1])",
			want: pyvalue.Tuple{both, shared, both}},
		{py: "(lambda x: [x, x])(set([1]))",
			want: func() any { s := pyvalue.NewSet(int64(1)); return pyvalue.NewList(s, s) }()},
		{py: "(lambda x: [x, x])((u'same', u'same'))",
			want: pyvalue.NewList(pyvalue.Tuple{"same", "same"}, pyvalue.Tuple{"same", "same"})},
		{py: "[[i] for i in range(300)]", want: func() any {
			l := pyvalue.NewList()
			for _, n := range numbers(300) {
				l.Items = append(l.Items, pyvalue.NewList(n))
			}
			return l
		}()},
		{py: "(lambda l: l + l[::-1])([[i] for i in range(300)])", want: func() any {
			l := pyvalue.NewList()
			for _, n := range numbers(300) {
				l.Items = append(l.Items, pyvalue.NewList(n))
			}
			back := slices.Clone(l.Items)
			slices.Reverse(back)
			l.Items = append(l.Items, back...)
			return l
		}()},
		{py: "Context(5, u'web1')", want: pyvalue.Ref{ID: 5, Name: "web1"}},
		{py: "Sender(0, 1000)", want: pyvalue.Sender{Context: 0, Handle: 1000}},
		{py: "Secret(u'pa\\xdf')", want: secret.Secret("paß")},
		{py: "Blob(b'\\xff\\0')", want: pyvalue.Blob("\xff\x00")},
		{py: "Blob(b'text')", want: pyvalue.Blob("text")},
		{py: "Error(u'm', u'T', u'text', u'tb', (1,))",
			want: &pyvalue.Exception{Module: "m", Type: "T", Text: "text", Traceback: "tb",
				Args: pyvalue.Tuple{int64(1)}}},
		{py: "Error(u'm', u'T', u'', u'', None)", want: &pyvalue.Exception{Module: "m", Type: "T"}},
		{py: "((u'os', 1), {u'key': [u'v', b'\\xff', 2**70]})",
			want: pyvalue.Tuple{pyvalue.Tuple{"os", int64(1)}, pyvalue.NewDict("key", pyvalue.NewList("v",
				[]byte{255}, power(70)))}},
		{py: "'ascii'", want: "ascii"},
	}
}

func numbers(n int) []any {
	vs := make([]any, n)
	for i := range vs {
		vs[i] = int64(i)
	}
	return vs
}

func (s sample) expect(major int) any {
	if major == 2 && s.fromPy2 != nil {
		return s.fromPy2
	}
	return s.want
}

// show describes a value by types, contents and what of it is shared. Sets have no order; dicts are
// compared without it, because Python 2 has none.
func show(v any) string { return (&shower{}).show(v) }

type shower struct{ seen map[any]int }

func (s *shower) show(v any) string {
	switch v := v.(type) {
	case float64:
		if math.IsNaN(v) {
			return "nan"
		}
		return fmt.Sprintf("float %x", math.Float64bits(v))
	case []byte:
		return fmt.Sprintf("bytes %x", v)
	case pyvalue.Blob:
		return fmt.Sprintf("blob %x", []byte(v))
	case secret.Secret:
		return fmt.Sprintf("secret %q", string(v))
	case pyvalue.Tuple:
		return "(" + strings.Join(s.all(v), " ") + ")"
	case *pyvalue.FrozenSet:
		return "frozenset" + s.sorted(v.Items)
	case *pyvalue.Exception:
		return fmt.Sprintf("error %q %q %q %q %v %s", v.Module, v.Type, v.Text, v.Traceback,
			v.Args == nil, s.show(v.Args))
	case *pyvalue.List, *pyvalue.Set, *pyvalue.Dict:
		if n, ok := s.seen[v]; ok {
			return fmt.Sprintf("same %d", n)
		}
		if s.seen == nil {
			s.seen = map[any]int{}
		}
		s.seen[v] = len(s.seen)
	}
	switch v := v.(type) {
	case *pyvalue.List:
		return "[" + strings.Join(s.all(v.Items), " ") + "]"
	case *pyvalue.Set:
		return "set" + s.sorted(v.Items)
	case *pyvalue.Dict:
		var entries []string
		for _, e := range v.Entries {
			entries = append(entries, s.show(e.Key)+":"+s.show(e.Value))
		}
		sort.Strings(entries)
		return "{" + strings.Join(entries, " ") + "}"
	}
	return fmt.Sprintf("%T %+q", v, fmt.Sprint(v))
}

func (s *shower) all(vs []any) []string {
	var out []string
	for _, v := range vs {
		out = append(out, s.show(v))
	}
	return out
}

func (s *shower) sorted(vs []any) string {
	all := s.all(vs)
	sort.Strings(all)
	return "{" + strings.Join(all, " ") + "}"
}

// ask runs peer.py and returns a line of answer for each question.
func ask(t *testing.T, python testpython.Interp, questions []string) []string {
	t.Helper()
	cmd := exec.Command(python.Path, filepath.Join("testdata", "peer.py"))
	cmd.Stdin = strings.NewReader(strings.Join(questions, "\n") + "\n")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	answers := strings.Split(strings.TrimRight(string(out), "\r\n"), "\n")
	if err != nil || len(answers) != len(questions) {
		t.Fatalf("%s: %d answers to %d questions, %v", python.Name(), len(answers), len(questions), err)
	}
	return answers
}

// dumps asks for the pickles of all samples: per sample lines of "protocol hex".
func dumps(t *testing.T, python testpython.Interp) [][]string {
	var questions []string
	for _, s := range samples() {
		questions = append(questions, "dump\t"+s.py)
	}
	var all [][]string
	for _, answer := range ask(t, python, questions) {
		all = append(all, strings.Split(answer, "\t"))
	}
	return all
}

func checkDump(t *testing.T, s sample, major int, dump string) {
	t.Helper()
	_, text, _ := strings.Cut(dump, " ")
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Errorf("dump %s in Python: got %s, want hexadecimal digits", s.py, dump)
		return
	}
	got, err := Decode(b, Limits{})
	if err != nil {
		t.Errorf("%s in %.60s: %v", s.py, dump, err)
		return
	}
	if got, want := show(got), show(s.expect(major)); got != want {
		t.Errorf("%s in %.60s:\n got %.200s\nwant %.200s", s.py, dump, got, want)
	}
}

func TestDecodeWhatPythonDumps(t *testing.T) {
	for _, python := range testpython.Find() {
		t.Run(python.Name(), func(t *testing.T) {
			for i, all := range dumps(t, python) {
				for _, dump := range all {
					checkDump(t, samples()[i], python.Major, dump)
				}
			}
		})
	}
}

func modesOf(python testpython.Interp) []Mode {
	if python.Major == 2 {
		return []Mode{Proto2Both, Proto2}
	}
	return []Mode{Proto2Both, Proto3, Proto4}
}

func TestPythonLoadsWhatAppendMakes(t *testing.T) {
	for _, python := range testpython.Find() {
		t.Run(python.Name(), func(t *testing.T) {
			var questions []string
			for _, mode := range modesOf(python) {
				for _, s := range samples() {
					// In Python 2 this literal is no text.
					if s.oneWay || s.py == "'ascii'" {
						continue
					}
					b, err := Append(nil, s.want, mode)
					if err != nil {
						t.Fatalf("encode %s: %v", s.py, err)
					}
					questions = append(questions, fmt.Sprintf("load\t%s\t%x", s.py, b))
				}
			}
			for i, answer := range ask(t, python, questions) {
				if answer != "ok" {
					t.Errorf("ask Python to %.150s: got %s, want ok", questions[i], answer)
				}
			}
		})
	}
}

func TestRoundTripInGo(t *testing.T) {
	for _, mode := range []Mode{Proto2Both, Proto3, Proto4} {
		for _, s := range samples() {
			b, err := Append(nil, s.want, mode)
			if err != nil {
				t.Fatalf("encode %s: %v", s.py, err)
			}
			got, err := Decode(b, Limits{})
			if err != nil {
				t.Errorf("%s, mode %d: %v", s.py, mode, err)
			} else if show(got) != show(s.want) {
				t.Errorf("%s, mode %d: got %.200s", s.py, mode, show(got))
			}
		}
	}
}

const golden = "testdata/golden"

func TestGolden(t *testing.T) {
	if *update {
		record(t)
	}
	files, _ := filepath.Glob(filepath.Join(golden, "*.txt"))
	if len(files) == 0 {
		t.Fatal("no golden files")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"),
			func(t *testing.T) { checkGolden(t, file) })
	}
}

// checkGolden decodes the pickles of a file: lines of expression, tab, protocol, space, hex.
func checkGolden(t *testing.T, file string) {
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	major := 3
	if strings.Contains(file, "python2") {
		major = 2
	}
	byExpr := map[string]sample{}
	for _, s := range samples() {
		byExpr[s.py] = s
	}
	for line := range strings.Lines(string(b)) {
		expr, dump, _ := strings.Cut(strings.TrimSpace(line), "\t")
		s, ok := byExpr[expr]
		if !ok {
			t.Errorf("%s is no sample any more", expr)
			continue
		}
		checkDump(t, s, major, dump)
	}
}

// record writes a file for each interpreter. Long pickles are left out: the live test has them.
func record(t *testing.T) {
	if err := os.MkdirAll(golden, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, python := range testpython.Find() {
		var out strings.Builder
		for i, all := range dumps(t, python) {
			for _, dump := range all {
				if len(dump) < 400 {
					fmt.Fprintf(&out, "%s\t%s\n", samples()[i].py, dump)
				}
			}
		}
		if err := os.WriteFile(filepath.Join(golden, python.Name()+".txt"), []byte(out.String()),
			0o644); err != nil {
			t.Fatal(err)
		}
	}
}
