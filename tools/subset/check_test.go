package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/mitogen-go/mitogen/internal/testenv"
)

// refused has, for each shape, sources whose last line with `<-` is where it must be found.
var refused = map[string][]string{
	"conditional expression": {"x = 1 if y else 2 # <-",
		"f(a,\n  b if c else d) # <-", "[x for x in y if x if a else b] # <-"},
	"except … as":                {"try:\n x\nexcept A as e: # <-\n y"},
	"except X, e":                {"try:\n x\nexcept A, e: # <-\n y"},
	"except*":                    {"try:\n x\nexcept* A: # <-\n y"},
	"bare except before another": {"try:\n x\nexcept:\n y\nexcept A: # <-\n z"},
	"try with except and finally": {"try:\n x\nexcept A:\n y\nfinally: # <-\n z",
		"def f():\n try:\n  try: x\n  finally: y\n except: z\n finally: q # <-"},
	"yield in try with finally": {"def f():\n try:\n  if a:\n   yield 1 # <-\n " +
		"finally:\n  x", "def f():\n try:\n  try:\n   x\n  except A:\n   yield 1 # <-\n finally:\n  x"},
	"yield as an expression": {"def f():\n x = yield 1 # <-",
		"def f():\n g((yield)) # <-"},
	"yield from": {"def f():\n yield from x # <-"},
	"return of a value in a generator": {"def f():\n if x:\n  return 1 # <-\n yield 2",
		"def f():\n yield 2\n return 1 # <-\nx"},
	"return in finally":         {"def f():\n try:\n  x\n finally:\n  return # <-"},
	"decorated class":           {"@a.b(c) # <-\nclass A: pass"},
	"class with empty brackets": {"class A(): # <-\n pass"},
	"class with keywords":       {"class A(B, metaclass=C): # <-\n pass"},
	"keyword-only or positional-only parameters": {"def f(a, *, b): # <-\n x",
		"def f(*a, b=1): # <-\n x", "def f(a, /): # <-\n x"},
	"annotation":           {"def f(a: int): # <-\n x", "x: int = 1 # <-", "self.x: y # <-"},
	"tuple as a parameter": {"def f(a, (b, c)): # <-\n x", "lambda (a, b): a # <-"},
	"exec as a statement":  {"exec 'a' # <-", "exec code in d # <-"},
	"exec in or around a nested function": {
		"def f(module):\n def load():\n  exec(compile(module, 'a', 'exec'), globals()) # <-\n" +
			" return load",
		"def f(a):\n exec(a, {}) # <-\n def g():\n  pass",
		"def f(a):\n g(lambda: a)\n if a:\n  exec(a, {}) # <-\nx",
		"class A:\n def f(self):\n  class B:\n   def g(self):\n    exec('a') # <-",
	},
	"faulthandler.enable given a descriptor": {"faulthandler.enable(ERR) # <-",
		"try:\n faulthandler.enable(file=2) # <-\nexcept ImportError:\n pass"},
	"raise X, y":   {"raise A, 'b' # <-", "raise A, b, c # <-"},
	"raise … from": {"raise A(b) from c # <-"},
	"relative import": {"from . import a # <-", "from .a import b # <-",
		"from ...a import b # <-"},
	"set or dict comprehension": {"{a for a in b} # <-", "x = {a: 1 for a in b} # <-"},
	"set literal":               {"x = {1, 2} # <-", "{'a'} # <-", "{lambda: 1} # <-"},
	"starred expression": {"[*a] # <-", "a, *b = c # <-", "*a, b = c # <-",
		"x = (1, *b) # <-", "for a in *b, c: # <-\n x"},
	"argument after *args": {"f(*a, b) # <-", "f(*a, k=1) # <-", "f(a, *b, *c) # <-",
		"f(a)(*b, c=1) # <-"},
	"tuple given to startswith or endswith": {"a.startswith(('b', 'c')) # <-",
		"a.endswith(('b',)) # <-"},
	"key given to min or max":         {"min(a, key=b) # <-", "max(f(x), key=lambda x: 1) # <-"},
	"matrix multiplication":           {"a @ b # <-"},
	"octal literal":                   {"0755 # <-", "0o755 # <-", "00 # <-"},
	"binary literal":                  {"0b1 # <-"},
	"underscore in a number":          {"1_000 # <-"},
	"long literal":                    {"10L # <-", "0xFFl # <-"},
	"number next to a name":           {"[a for a in b if 1and c] # <-"},
	"comparison by is with a literal": {"a is 1 # <-", "a is not 'b' # <-"},
	"invalid escape":                  {`x = '\d' # <-`, `x = '\\\[' # <-`},
	"escape that only text has":       {`x = '\u1234' # <-`, `x = "\N{BULLET}" # <-`},
	"character outside ASCII":         {"x\n# ä <-"},
	"tab in indentation":              {"if a:\n\tb # <-"},
}

func TestShapes(t *testing.T) {
	for name := range shapes {
		if len(refused[name]) == 0 {
			t.Errorf("no test for %q", name)
		}
	}
	for name, sources := range refused {
		for _, src := range sources {
			expect(t, src, name)
		}
	}
}

// expect demands that the first thing found in src, of all versions, is what, on the line that is
// marked.
func expect(t *testing.T, src, what string) {
	t.Helper()
	found, err := check([]byte(src+"\n"), 0)
	if err != nil {
		t.Errorf("check %q: got error %v, want none", src, err)
		return
	}
	line := 1 + strings.Count(src[:strings.Index(src, "<-")], "\n")
	for _, f := range found {
		if f.what == what && f.line == line {
			return
		}
	}
	t.Errorf("%q: found %v, want %s on line %d", src, found, what, line)
}

func TestTables(t *testing.T) {
	for name := range words {
		expect(t, "x\n"+name+" # <-", name)
		expect(t, "a."+name+" # <-", name)
	}
	for name := range builtins {
		expect(t, "x = f("+name+") # <-", name)
		allowed(t, "a."+name+"_x\nf("+name+"=1)", 204)
		allowed(t, "def "+name+"():\n pass\nx = "+name, 204)
	}
	for name := range attributes {
		expect(t, "x."+name+"(1) # <-", "."+name)
	}
	for name := range modules {
		expect(t, "import os, "+name+" # <-", "import of "+name)
		expect(t, "from "+name+".x import y # <-", "import of "+name)
		allowed(t, "try:\n import "+name+"\nexcept ImportError:\n pass\ndef f():\n import "+name, 204)
	}
	for name := range inner {
		expect(t, "def f():\n import "+name+" as b # <-", "import of "+name)
		expect(t, "try:\n import a\nexcept ImportError:\n from "+name+" import b # <-", "import of "+name)
		allowed(t, "def f():\n import "+name+"2\nx = '"+name+"'", 204)
	}
	for name := range futures {
		expect(t, "from __future__ import "+name+" # <-", "from __future__ import "+name)
	}
	for name := range prefixes {
		expect(t, "x = "+name+"'a' # <-", name+"''")
		expect(t, "x = "+strings.ToUpper(name)+"'''a''' # <-", name+"''")
	}
	for name := range operators {
		src := "a " + name + " b # <-"
		if name == "`" {
			src = "`a` # <-"
		}
		expect(t, src, name)
	}
}

func allowed(t *testing.T, src string, floor version) {
	t.Helper()
	if found, err := check([]byte(src+"\n"), floor); err != nil || len(found) > 0 {
		t.Errorf("%q: found %v, error %v; want nothing", src, found, err)
	}
}

func TestAllowed(t *testing.T) {
	for _, src := range []string{
		"if a:\n b\nelif c:\n d\nelse:\n e\nfor a in b:\n c\nelse:\n d",
		"try:\n a\nexcept (A, B):\n b\nexcept:\n c\nelse:\n d",
		"try:\n try:\n  a\n except A:\n  b\nfinally:\n c",
		"def f():\n for a in b:\n  yield a\n return\ndef g():\n return 1",
		"def f():\n try:\n  def g():\n   yield 1\n finally:\n  x",
		"def f():\n try:\n  yield 1\n except A:\n  pass",
		"@a\n@b.c(1)\ndef f(a, b=(1, 2), *c, **d):\n return a * b ** c",
		"class A(object):\n pass\nclass B:\n x = {}\n y = {1: 2, 'a': lambda x: x}",
		"x = lambda a, b=1: {a: b}\ny = a[1:2], a[::2]\nf(a, *b, **c)\nf(*[1])(a)",
		"exec('a')\nexec(compile(a, b, 'exec'), d)\nraise A('b')\nraise",
		"x = r'\\d' + 'a\\n\\'\\x00\\\n' + 0x10 + 1.5e3 + 0.5 + 0",
		"import os.path as p, sys\nfrom os import (a, b)\nfrom x import *\nassert a, b",
		"x = [a for a in b if c]\ny = list(a for a in b)\nif a: b\nwhile 1: c; d",
		"f(*a())\ndef f(a=b(), *c): pass",
		"def f(a, *b):\n return -a * (b)\nx = a *b\nprint_it(min(a, b))",
		"x = {1: [a for a in b]}\nwhile x[1:2]: pass\ns.startswith('a')",
		"x = any(y) # subset: ok",
		"for key, value in x.items():\n del a[key]",
		"def f(a):\n exec(a, {})\nclass A:\n def g(self, a):\n  exec(a, {})\ndef h(a):\n def i():\n  " +
			"eval(a, {})\n x.exec_(lambda: a)",
		"faulthandler.enable()\nfaulthandler.disable()",
	} {
		allowed(t, src, 204)
	}
}

// TestFloor shows that a rule ends where the oldest Python has the thing, and that some never do.
func TestFloor(t *testing.T) {
	allowed(t, "with a:\n x = 1 if b else any(c)\ntry:\n d\nexcept E as e:\n f", 206)
	for floor, src := range map[version]string{205: "with a:\n b", 207: "x = u'a'",
		300: "a.iteritems()", 307: "x = 0755"} {
		if found, err := check([]byte(src+"\n"), floor); err != nil || len(found) != 1 {
			t.Errorf("%q from %d: %v, %v", src, floor, found, err)
		}
	}
}

// TestRuntime holds the runtime to the subset.
func TestRuntime(t *testing.T) {
	for name, floor := range map[string]version{"core/compat.py": 204, "core/importer.py": 204,
		"core/plain.py": 204, "core/streams.py": 204, "values.py": 204, "child.py": 204, "tunnel.py": 204,
		"run_copy.py": 204,
		"mitogen.py":  207} {
		var out bytes.Buffer
		n, err := report(&out, filepath.Join("../../python", name), floor)
		if err != nil || n > 0 {
			t.Errorf("report on %s: got %d findings, %v; want 0:\n%s", name, n, err, out.String())
		}
	}
}

func TestCommand(t *testing.T) {
	dir := t.TempDir()
	bad, good, broken := filepath.Join(dir, "bad.py"), filepath.Join(dir,
		"good.py"), filepath.Join(dir, "broken.py")
	for name, src := range map[string]string{bad: "x\nwith a: b\n", good: "x\n", broken: "(\n"} {
		if err := os.WriteFile(name, []byte(src), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		args   []string
		status int
		out    string
	}{
		{[]string{good}, 0, ""},
		{[]string{good, bad}, 1, fmt.Sprintf("%s:2: with: only since 2.6; use try/finally\n", bad)},
		{[]string{"-min", "2.6", bad}, 0, ""},
		{[]string{"-min", "x", bad}, 2, ""},
		{[]string{broken}, 2, ""},
		{[]string{dir + "/none"}, 2, ""},
		{nil, 2, ""},
	} {
		var out, errs bytes.Buffer
		if got := run(tt.args, &out, &errs); got != tt.status || out.String() != tt.out {
			t.Errorf("%q: status %d, output %q, errors %q; want %d, %q", tt.args, got, out.String(),
				errs.String(), tt.status, tt.out)
		}
	}
}
