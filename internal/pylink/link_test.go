package pylink

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/boot"
	_ "github.com/mitogen-go/mitogen/internal/testenv"
	"github.com/mitogen-go/mitogen/internal/testpython"
)

// linked links the sources of the core, of a module in its namespace, and of a module that imports
// it.
func linked(t *testing.T, core, shared, own string, rules Rules) *Linked {
	t.Helper()
	l, err := tried(core, shared, own, rules)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func tried(core, shared, own string, rules Rules) (*Linked, error) {
	sources := map[string]string{"core.py": core, "shared.py": shared, "own.py": own}
	modules := []Module{{"_mitogen", []string{"core.py"}, true},
		{"_mitogen_shared", []string{"shared.py"}, true}, {"_mitogen_own", []string{"own.py"}, false}}
	return Link(modules, rules, func(name string) ([]byte, error) {
		return []byte(sources[name]), nil
	})
}

// run executes linked modules as contexts do, and returns what they print.
func run(t *testing.T, py string, l *Linked) string {
	t.Helper()
	code := fmt.Sprintf("import sys\nm = sys.modules['_mitogen'] = type(sys)('_mitogen')\n"+
		"exec(compile(%q, 'core', 'exec'), m.__dict__)\n"+
		"exec(compile(%q, 'shared', 'exec'), m.__dict__)\n"+
		"exec(compile(%q, 'own', 'exec'), {'__name__': 'own'})\n",
		l.Texts["_mitogen"], l.Texts["_mitogen_shared"], l.Texts["_mitogen_own"])
	out, err := exec.Command(py, "-c", code).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\nof\n%s", err, out, code)
	}
	return string(out)
}

// Programs that do the same under their new names, on the oldest and the newest interpreter.
// All print what `want` says.
var programs = []struct{ name, core, shared, own, want string }{
	{"a global and a local of one name", `
count = 3
def outer():
    count = 4
    def inner(extra):
        return count + extra
    return inner(1)
def reader():
    return count
`, "print_it = (outer(), reader())\n", "import _mitogen as core\nprint(core.print_it)\n", "(5, 3)"},
	{"a global that a function sets", `
value = 1
def change(new):
    global value
    value = new
change(2)
`, "def double():\n    return value * 2\n",
		"import _mitogen as core\ncore.change(5)\nprint(core.double())\n", "10"},
	{"names in strings", `
TABLE = {}
ADDED = 'none'
def late():
    return globals().get('ADDED', 0), 'TABLE' in globals()
`, "globals()['ADDED'] = late()\n", "import _mitogen as core\n" +
		"print(core.late(), core.__dict__.get('MISSING', 7))\n" +
		"for name in 'TABLE ADDED'.split():     # names of core\n    print(name in core.__dict__)\n",
		"(('none', True), True) 7\nTrue\nTrue"},
	{"constants", `
ZEROTH, FIRST, SECOND = range(3)
LARGE = 1048576
(ONE, TWO) = range(1, 3)
def kind(x, y=SECOND):
    return [ZEROTH, FIRST, y, LARGE, LARGE - 1, TWO][x]
`, "KINDS = [kind(i) for i in range(6)]\n", "import _mitogen as core\n" +
		"print(core.KINDS, core.LARGE, core.SECOND == 2 or core.ONE)\n",
		"[0, 1, 2, 1048576, 1048575, 2] 1048576 True"},
	{"any argument by its name", `
class Base:
    def grow(self, size, **more):
        return size, sorted(more.items())
def kind(first, *rest, **all):
    class Made(object):
        pass
    return first, sorted(all.items()), Made.__name__, repr(Made()).find('.Made ') > 0
`, "got = Base().grow(1, s=2, e=3), kind(1, s=2, e=3, a=4)\n",
		"import _mitogen as core\nprint(core.got)\n",
		"((1, [('e', 3), ('s', 2)]), (1, [('a', 4), ('e', 3), ('s', 2)], 'Made', True))"},
	{"arguments by their names", `
def call(first, second=2, *rest, **more):
    return first, second, rest, sorted(more.items())
pick = lambda key, other=5: key + other
`, "got = call(1, second=3, third=4), pick(1), pick(1, other=1)\n",
		"import _mitogen as core\nprint(core.got, core.call(first=9))\n",
		"((1, 3, (), [('third', 4)]), 6, 2) (9, 2, (), [])"},
	{"attributes", `
class Base:
    size = height = 1
    def grow(self, by):
        self.size += by
        return self
    enlarge = grow
class Child(Base):
    def grow(self, by):
        return Base.grow(self, by * 2)
`, "made = Child().grow(2).enlarge(1)\n", "import _mitogen as core\n" +
		"print(core.made.size, core.made.height, 'x'.join('ab'))\n",
		"6 1 axb"},
	{"comprehensions and closures", `
items = [1, 2, 3]
def sums(items, start):
    add = [lambda x=x: x + start for x in items if x != start]
    return [f() for f in add], [(a, b) for a in items for b in [start] if a < b]
`, "result = sums(items + [4], 2)\n", "import _mitogen as core\nprint(core.result)\n",
		"([3, 5, 6], [(1, 2)])"},
	{"imports in functions", `
def base(path):
    import os
    from os import path as where
    return os.path.basename(path), where.basename(path)
`, "", "import _mitogen as core\nprint(core.base('/a/b'))\n", "('b', 'b')"},
}

func TestLinkedDoesTheSame(t *testing.T) {
	pythons := testpython.Sample(t.Name())
	if len(pythons) == 0 {
		t.Skip("no Python")
	}
	for _, tt := range programs {
		rules := Rules{Attributes: []string{"size", "height", "grow", "enlarge"}}
		l := linked(t, tt.core, tt.shared, tt.own, rules)
		for _, py := range pythons {
			got := strings.TrimSpace(run(t, py.Path, l))
			if py.AtLeast(3, 0) && got != tt.want {
				t.Errorf("%s on %s: got %s, want %s\n%s", tt.name, py.Name(), got, tt.want, l.Texts["_mitogen"])
			}
		}
	}
}

// What a class binds never hides what its body takes from outside, whatever letters they get.
func TestClassesHideNothing(t *testing.T) {
	pythons := testpython.Find()
	if len(pythons) == 0 {
		t.Skip("no Python")
	}
	var globals, body, use strings.Builder
	var attributes []string
	for i := range 120 {
		fmt.Fprintf(&globals, "outer%d = [%d]\n", i, i)
		fmt.Fprintf(&body, "    inner%d = outer%d\n", i, 119-i)
		fmt.Fprintf(&use, "    x += self.inner%d[0] * %d\n", i, i+1)
		attributes = append(attributes, fmt.Sprintf("inner%d", i))
	}
	core := globals.String() + "class Made:\n    bits = ''.join\n" + body.String() +
		"    def fill(self, x=outer3[0]):\n        return x + self.inner0[0]\n    again = outer5 + " +
		"outer6\n" +
		"def total(self):\n    x = 0\n" + use.String() + "    return x, self.fill(), self.again\n"
	l := linked(t, core, "", "import _mitogen as core\nprint(core.total(core.Made()))\n",
		Rules{Attributes: append(attributes, "fill", "again")})
	want := 0
	for i := range 120 {
		want += (119 - i) * (i + 1)
	}
	for _, py := range []string{pythons[0].Path, pythons[len(pythons)-1].Path} {
		if got := strings.TrimSpace(run(t, py, l)); got != fmt.Sprintf("(%d, 122, [5, 6])", want) {
			t.Errorf("got %s, want %d", got, want)
		}
	}
}

// What is private is short, and the same in all modules.
func TestNamesAreShort(t *testing.T) {
	l := linked(t, "STEPS = 7\nFACTOR = 9000001\ndef multiply(number, times=FACTOR):\n"+
		"    product = number * times * FACTOR\n    return product\n",
		"def twice(number):\n    return multiply(multiply(number)) + STEPS\n",
		"import _mitogen as core\ncore.twice(core.STEPS)\n",
		Rules{Keep: []string{"twice"}})
	want := map[string]string{
		"_mitogen":        "A=9000001\ndef B(s,e=A):a=s*e*A;return a\n",
		"_mitogen_shared": "def twice(s):return B(B(s))+7\n",
		"_mitogen_own":    "import _mitogen as core;core.twice(7)\n",
	}
	for name, text := range want {
		if got := string(l.Texts[name]); got != text {
			t.Errorf("%s:\ngot  %q\nwant %q", name, got, text)
		}
	}
	if got := l.Names.Globals["STEPS"]; got != "7" {
		t.Errorf("a constant in the table: got %q, want 7", got)
	}
}

// What could mean something else after linking is an error.
func TestLinkRefuses(t *testing.T) {
	for _, tt := range []struct{ name, core, shared, own, want string }{
		{"a string with a name", "TABLE = {}\n", "x = {'TABLE': 1}\n", "",
			"shared.py:1: 'TABLE' names a global"},
		{"a string of a module of its own", "TABLE = {}\n", "",
			"import _mitogen as core\nprint(getattr(core, 'TABLE'))\n",
			"own.py:2: 'TABLE' names a global"},
		{"a function of the core by its name", "def late():\n    pass\n", "",
			"import _mitogen as core\nhasattr(core, 'late')\n", "own.py:2: 'late' names a global"},
		{"a string of names", "TABLE = {}\nOTHER = []\n", "x = 'TABLE OTHER'\n", "",
			"shared.py:1: 'TABLE OTHER' names a global"},
		{"a string of names in two parts", "TABLE = {}\nOTHER = []\n",
			"x = ('TABLE '\n 'OTHER')   # names of core\n", "",
			"shared.py:1: 'TABLE ' names a global"},
		{"a marked string without one", "TABLE = {}\n", "",
			"x = 'TABLE OTHER' # names of core\n", "OTHER is no global"},
		{"an attribute by its name", "x = getattr(x, 'size', 0)\n", "", "",
			"may name the attribute size"},
		{"attributes by their names", "", "for n in 'a size'.split():\n    setattr(x, n, 0)\n", "",
			"may name the attribute size"},
		{"an attribute that is a module's name", "", "", "def size():\n    pass\n",
			"size is a name of this module"},
		{"no Python", "def f(:\n", "", "", "core.py"},
	} {
		_, err := tried(tt.core, tt.shared, tt.own, Rules{Attributes: []string{"size"}})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", tt.name, err, tt.want)
		}
	}
}

// A traceback is shown with the places in the sources.
func TestReadable(t *testing.T) {
	l := linked(t, "'A core.'\n\n# A comment.\nclass Reader:\n    def fetch(self):\n"+
		"        raise ValueError\n\n\ndef outer(reader):\n    'Calls.'\n"+
		"    return (reader\n            .fetch())\n",
		"def other():\n    outer(Reader())\n",
		"import _mitogen as core\n\n\ndef main():\n    core.other()\n",
		Rules{Attributes: []string{"fetch"}})
	n := l.Names
	for _, tt := range []struct{ in, want string }{
		{`File "<_mitogen>", line 2, in ` + n.Attributes["fetch"],
			`File "python/core.py", line 6, in fetch`},
		{`File "<_mitogen>", line 3, in ` + n.Globals["outer"],
			`File "python/core.py", line 11, in outer`},
		{`File "<_mitogen>", line 1, in <module>`, `File "python/core.py", line 4, in <module>`},
		{`File "<_mitogen>", line 3 in ` + n.Globals["outer"],
			`File "python/core.py", line 11 in outer`},
		{`File "<_mitogen>", line 3`, `File "python/core.py", line 11`},
		{`  File "<_mitogen_shared>", line 1, in ` + n.Globals["other"] + "\n    x\n",
			"  File \"python/shared.py\", line 2, in other\n    x\n"},
		{`File "<_mitogen_own>", line 2, in main`, `File "python/own.py", line 5, in main`},
		{`File "<_mitogen>", line 999, in x`, `File "<_mitogen>", line 999, in x`},
		{`File "<_mitogen>", line -1, in x`, `File "<_mitogen>", line -1, in x`},
		{`File "<_mitogen_none>", line 1, in x`, `File "<_mitogen_none>", line 1, in x`},
		{`File "<stdin>", line 1, in x`, `File "<stdin>", line 1, in x`},
		{`File "<File "<_mitogen>", line x`, `File "<File "<_mitogen>", line x`},
	} {
		if got := n.Readable(tt.in); got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.in, got, tt.want)
		}
	}
}

func TestTranslate(t *testing.T) {
	n := &boot.Names{Globals: map[string]string{"TABLE": "B", "STEPS": "7", "wait": "cd"},
		Attributes: map[string]string{"plan": "p"}}
	for _, tt := range []struct{ in, want string }{
		{"import _mitogen as m\nm.TABLE[m.STEPS].plan, other.TABLE",
			"import _mitogen as m\nm.B[7].p, other.TABLE"},
		{"import os, _mitogen as core\ncore.wait(p.wait)",
			"import os, _mitogen as core\ncore.cd(p.wait)"},
		{"sys.modules['_mitogen'].TABLE.clear()", "sys.modules['_mitogen'].B.clear()"},
		{"(lambda m: m.TABLE)(sys.modules['_mitogen'])", "(lambda m: m.B)(sys.modules['_mitogen'])"},
		{"import _mitogen\nx = 'TABLE' # names of core\ny = 'TABLE'",
			"import _mitogen\nx = 'B' # names of core\ny = 'TABLE'"},
		{"m.TABLE", "m.TABLE"},
		{"import _mitogen as m\nm.TABLE]]", "import _mitogen as m\nm.TABLE]]"}, // no Python
	} {
		if got := Translate(n, tt.in); got != tt.want {
			t.Errorf("%q:\ngot  %q\nwant %q", tt.in, got, tt.want)
		}
	}
}

// Blocks of simple statements stand behind their colon; each other block keeps its lines.
func TestJoin(t *testing.T) {
	in := "import a\nimport b\nif a:\n b()\n c()\nelse:\n if b:\n  d()\n" +
		" for x in y:\n  e()\nf={1:2}\n"
	text, lines := join([]byte(in), []int{1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 20})
	want := "import a;import b\nif a:b();c()\nelse:\n if b:d()\n for x in y:e()\nf={1:2}\n"
	if string(text) != want || fmt.Sprint(lines) != "[1 4 7 8 10 20]" {
		t.Errorf("got %q on lines %v, want %q", text, lines, want)
	}
}
