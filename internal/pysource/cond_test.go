package pysource

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/testpython"
)

// conditions returns what is understood of each, after head has been executed.
func conditions(t *testing.T, head string, texts []string) [][]Cond {
	t.Helper()
	var src strings.Builder
	src.WriteString(head)
	for _, text := range texts {
		fmt.Fprintf(&src, "if %s: import x\n", text)
	}
	info, err := Scan([]byte(src.String()))
	if err != nil {
		t.Fatal(err)
	}
	var out [][]Cond
	for _, i := range info.Imports {
		if i.Module == "x" {
			out = append(out, i.When)
		}
	}
	if len(out) != len(texts) {
		t.Fatalf("%d conditions of %d", len(out), len(texts))
	}
	return out
}

// holds says what is known of all conditions together.
func holds(cs []Cond, t Target) Truth {
	if len(cs) == 0 {
		return Unknown
	}
	all := Yes
	for _, c := range cs {
		all = min(all, c.Holds(t))
	}
	return all
}

func TestConditions(t *testing.T) {
	linux2 := Target{[3]int{2, 7, 18}, "cpython", "linux2", "posix", ""}
	linux3 := Target{[3]int{3, 10, 2}, "pypy", "linux", "posix", ""}
	windows := Target{[3]int{3, 13, 0}, "cpython", "win32", "nt", ""}
	const head = "import sys, platform as p, os as o\nfrom sys import version_info as vi\n_v = " +
		"sys.version_info\nPY2 = _v[0] == 2\n" +
		"PY3: bool = not PY2\nA = B = sys.platform == 'win32'\nMYPY = False\n"
	for _, tt := range []struct{ text, want string }{ // for linux2, linux3, windows, unknown
		{"sys.version_info >= (3,)", "nyy?"},
		{"sys.version_info[0] == 2", "ynn?"},
		{"sys.version_info[:2] < (3, 11)", "yyn?"},
		{"(2, 7) <= sys.version_info < (3, 12)", "yyn?"},
		{"sys.version_info.major != 3 or sys.version_info.minor > 10", "yny?"},
		{"sys.version_info >= (3, 10, 2, 'final')", "n?y?"},
		{"sys.version_info[0:2] in ((2, 7), (3, 13))", "yny?"},
		{"sys.version_info[-1] == 0", "????"},
		{"sys.hexversion >= 0x030a0000", "nyy?"},
		{"sys.hexversion >= 0x030a02f0", "n?y?"},
		{"sys.version[0] == '2'", "ynn?"},
		{"sys.version < '3'", "ynn?"},
		{"sys.version.startswith('3.10.2 ')", "n?n?"},
		{"sys.platform == 'win32'", "nny?"},
		{"sys.platform.startswith('linux')", "yyn?"},
		{"sys.platform in ['win32', 'cygwin']", "nny?"},
		{"sys.platform[:3] != 'win'", "yyn?"},
		{"'linux' in sys.platform", "yyn?"},
		{"sys.platform.startswith(('darwin', 'win'))", "nny?"},
		{"os.name == 'nt'", "nny?"},
		{"o.name is not 'nt'", "????"},
		{"p.system() == \"Windows\"", "nny?"},
		{"p.python_implementation() == 'PyPy'", "nyn?"},
		{"hasattr(sys, 'pypy_version_info')", "nyn?"},
		{"'__pypy__' not in sys.builtin_module_names", "yny?"},
		{"not getattr(ssl, 'HAS_SNI', False)", "nnnn"}, {"getattr(ssl, 'OTHER', False)", "????"},
		{"getattr(x, 'HAS_SNI', False)", "????"},
		{"sys.implementation.name == 'cpython'", "yny?"},
		{"vi > (3,) and p.system() != 'Windows'", "nyn?"},
		{"PY2", "ynn?"}, {"PY3", "nyy?"}, {"A or not B", "yyy?"}, {"six.PY2", "ynn?"},
		{"MYPY", "nnnn"}, {"not TYPE_CHECKING", "yyyy"}, {"0", "nnnn"}, {"not(None)", "yyyy"},
		{"x and PY3", "n???"}, {"x or PY3", "?yy?"}, {"f(x, PY3)", "????"}, {"x if PY3 else y", "????"},
		{"lambda: PY3", "????"}, {"(PY3, )", "yyyy"}, {"(((PY2)))", "ynn?"},
		{"PY3 and (x or os.name == 'nt')", "n?y?"},
		{"__name__ == '__main__' and PY2", "?nn?"},
	} {
		c := conditions(t, head, []string{tt.text})[0]
		got := ""
		for _, target := range []Target{linux2, linux3, windows, {}} {
			got += string("n?y"[holds(c, target)+1])
		}
		if got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.text, got, tt.want)
		}
	}
}

func TestNamesThatChange(t *testing.T) {
	target := Target{Version: [3]int{3, 8, 0}}
	for _, tt := range []struct {
		head, text string
		want       Truth
	}{
		{"PY2 = sys.version_info[0] == 2\n", "PY2", No},
		{"PY2 = sys.version_info[0] == 2\nPY2 = f()\n", "PY2", Unknown},
		{"PY2 = sys.version_info[0] == 2\nif x: PY2 = 1\n", "PY2", Unknown},
		{"PY2 = sys.version_info[0] == 2\nPY2 |= x\n", "PY2", Unknown},
		{"PY2 = sys.version_info[0] == 2\nPY2 += x\n", "PY2", Unknown},
		{"X = (sys.version_info[0] == 2)\n", "X", No},
		{"X: Final\nX: Final[bool] = sys.version_info[0] == 2\n", "X", No},
		{"PY2 = sys.version_info[0] == 2\na, PY2 = 1, 2\n", "PY2", Unknown},
		{"PY2 = sys.version_info[0] == 2\ndef f():\n  global PY2\n", "PY2", Unknown},
		{"PY2 = sys.version_info[0] == 2\nfrom y import PY2\n", "PY2", Unknown},
		{"PY2 = sys.version_info[0] == 2\nimport y as PY2\n", "PY2", Unknown},
		{"PY2 = sys.version_info[0] == 2\ndef f():\n  from y import PY2\n  PY2 = x\n", "PY2", No},
		{"sys = f()\n", "sys.version_info[0] == 2", Unknown},
		{"from . import sys\n", "sys.version_info[0] == 2", Unknown},
	} {
		if got := holds(conditions(t, tt.head, []string{tt.text})[0], target); got != tt.want {
			t.Errorf("%s%s: got %d, want %d", tt.head, tt.text, got, tt.want)
		}
	}
}

func TestClauses(t *testing.T) {
	info, err := Scan([]byte("if sys.version_info < (3,):\n  import a\n  if os.name == 'nt': import " +
		"b\nelif sys.platform == 'x':\n" +
		"  import c\n  def f(): import d\nelif x: import e\nelse: import f\nimport g\nclass A:\n  if " +
		"sys.version_info >= (3,): import h\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		target Target
		want   string
	}{
		{Target{}, "abcdefgh"},
		{Target{Version: [3]int{2, 7, 0}}, "abg"},
		{Target{Version: [3]int{2, 7, 0}, OSName: "posix"}, "ag"},
		{Target{Version: [3]int{3, 8, 0}}, "cdefgh"},
		{Target{Version: [3]int{3, 8, 0}, Platform: "x"}, "cdgh"},
		{Target{Version: [3]int{3, 8, 0}, Platform: "y"}, "efgh"},
	} {
		got := ""
		for _, i := range info.Imports {
			if i.Taken(tt.target) {
				got += i.Module
			}
		}
		if got != tt.want {
			t.Errorf("%v: got %s, want %s", tt.target, got, tt.want)
		}
	}
}

// grammar makes conditions: an upper-case word is replaced by one of its alternatives.
var grammar = map[string][]string{
	"COND": {"TEST", "TEST", "TEST", "not COND", "COND and COND", "COND or COND", "(COND)"},
	"TEST": {
		"VERSION OP (MAJOR, MINOR)", "VERSION OP (MAJOR,)", "VERSION OP (MAJOR, MINOR, MINOR)",
		"(MAJOR, MINOR) OP VERSION",
		"sys.version_info[0] OP MAJOR", "VERSION[:2] OP (MAJOR, MINOR)",
		"VERSION[:2] in [(MAJOR, MINOR), (MAJOR, MINOR)]",
		"sys.version_info[1] not in (MINOR, MINOR)", "(MAJOR, MINOR) OP VERSION[0:3] OP (MAJOR, MINOR)",
		"VERSION[-4] OP MINOR",
		"sys.hexversion OP 0x0MAJOR0aMAJOR0f0", "sys.version OP 'MAJOR'",
		"sys.version[:3] OP 'MAJOR.MAJOR'", "sys.version.startswith('MAJOR')",
		"sys.platform OP 'PLATFORM'", "sys.platform.startswith('PLATFORM')",
		"sys.platform[:5] == 'PLATFORM'",
		"'PLATFORM' in sys.platform", "sys.platform in ('PLATFORM', 'PLATFORM')",
		"sys.platform.endswith(('x', '2'))",
		"os.name OP 'posix'", "os.name in ('nt', 'posix')", "platform.system() OP 'Linux'",
		"platform.python_implementation() == 'PyPy'", "hasattr(sys, 'pypy_version_info')",
		"'__pypy__' in sys.builtin_module_names",
		"PY2", "PY3", "WIN", "VI[0] > MAJOR", "True", "MAJOR", "UNKNOWN",
	},
	"VERSION":  {"sys.version_info", "_v"},
	"VI":       {"sys.version_info", "_v"},
	"OP":       {"<", "<=", ">", ">=", "==", "!="},
	"MAJOR":    {"2", "3"},
	"MINOR":    {"0", "6", "7", "8", "10", "13", "18"},
	"PLATFORM": {"linux", "win32", "linux2", "darwin"},
	"UNKNOWN": {"maybe", "rarely[0]", "f(1, maybe)", "(maybe, rarely)[1]", "len(maybe) > 0",
		"maybe if rarely else 0"},
}

func expand(r *rand.Rand, text string, depth int) string {
	var out strings.Builder
	for text != "" {
		n := strings.IndexFunc(text, func(c rune) bool { return c < 'A' || c > 'Z' })
		if n < 0 {
			n = len(text)
		}
		switch options, ok := grammar[text[:max(n, 1)]]; {
		case ok && depth > 3 && text[:n] == "COND":
			out.WriteString(expand(r, "TEST", depth))
		case ok:
			out.WriteString(expand(r, options[r.IntN(len(options))], depth+1))
		default:
			out.WriteString(text[:max(n, 1)])
		}
		text = text[max(n, 1):]
	}
	return out.String()
}

const grammarHead = "import sys, os, platform\n_v = sys.version_info\nPY2 = _v[0] == 2\n" +
	"PY3 = not PY2\nWIN = os.name == 'nt'\n"

// TestConditionsAgainstPython compares random conditions with what every interpreter here says.
func TestConditionsAgainstPython(t *testing.T) {
	count := 3000
	if soak {
		count = 50_000
	}
	r := rand.New(rand.NewPCG(3, 4))
	texts := make([]string, count)
	for i := range texts {
		texts[i] = expand(r, "COND", 0)
	}
	found := conditions(t, grammarHead, texts)
	list := filepath.Join(t.TempDir(), "list")
	write(t, list, []byte(grammarHead+"maybe, rarely, f = 'x', [0], min\n\n"+
		strings.Join(texts, "\n")))
	for _, python := range testpython.Find() {
		t.Run(python.Name(), func(t *testing.T) {
			out, err := exec.Command(python.Path, "testdata/conditions.py", list).Output()
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			if err != nil || len(lines) != count+4 {
				t.Fatalf("%d lines, %v", len(lines), err)
			}
			compareConditions(t, texts, found, lines)
		})
	}
}

func compareConditions(t *testing.T, texts []string, found [][]Cond, lines []string) {
	var version [3]int
	fmt.Sscan(lines[0], &version[0], &version[1], &version[2])
	full := Target{version, lines[1], lines[2], lines[3], ""}
	known, unsure := 0, 0
	for i, text := range texts {
		want := map[string]Truth{"T": Yes, "F": No}[lines[i+4]]
		for n, target := range []Target{full, {Version: version},
			{Platform: lines[2], Implementation: lines[1]}, {}} {
			got := holds(found[i], target)
			if got != Unknown && want != Unknown && got != want {
				t.Errorf("%s: %d for %v, %d in truth", text, got, target, want)
			}
			switch {
			case n > 0 || want == Unknown || strings.Contains(text, "maybe") ||
				strings.Contains(text, "rarely"):
			case got == Unknown:
				unsure++
			default:
				known++
			}
		}
	}
	t.Logf("%d known, %d not", known, unsure)
	if unsure > known/20 {
		t.Errorf("%d of %d conditions that can be known aren't", unsure, known+unsure)
	}
}
