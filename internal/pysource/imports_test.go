package pysource

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// show writes imports as the tests have them: line, name, places.
func show(imports []Import) string {
	var out []string
	for _, i := range imports {
		text := fmt.Sprintf("%d %s%s", i.Line, strings.Repeat(".", i.Level), i.Module)
		if i.Names != nil {
			text += "(" + strings.Join(i.Names, " ") + ")"
		}
		if i.Where != 0 {
			text += " " + i.Where.String()
		}
		if i.Try != 0 {
			text += fmt.Sprintf(" try%d", i.Try)
		}
		if i.Catch != 0 {
			text += fmt.Sprintf(" catch%d", i.Catch)
		}
		if i.When != nil {
			text += fmt.Sprintf(" if%d", len(i.When))
		}
		if i.Lazy {
			text += " lazy"
		}
		out = append(out, text)
	}
	return strings.Join(out, "; ")
}

func TestImports(t *testing.T) {
	for _, tt := range []struct{ name, src, want string }{
		{"nothing", "", ""},
		{"import", "import a, b.c as d\nimport e . f", "1 a; 1 b.c; 2 e.f"},
		{"from", "from a import b\nfrom . import c as d, e\nfrom ...f.g import (h,\n  i as j,\n)\nfrom " +
			".... k import *",
			"1 a(b); 2 .(c e); 3 ...f.g(h i); 6 ....k(*)"},
		{"continued", "from a \\\n import b; import \\\n c", "1 a(b); 2 c"},
		{"line ends and tabs", bom + "import a\rif x:\r\n\timport b\r\n\f\n\f\timport c\n",
			"1 a; 3 b; 5 c"},
		{"not imports", "x = yield\nraise a from b\ny.from_(1)\nprint >>f, 'import x'\n'''\nimport b\n" +
			"'''\nyield from c\n", ""},
		{"on one line", "if x: import a; import b\nelse: import c\nfor y in z[1:2]: import d\nwhile " +
			"lambda: 1: import e",
			"1 a; 1 b; 2 c; 3 d; 4 e"},
		{"functions", "def f(a: int = 3) -> {1: 2}:\n  import b\n  class C:\n    import c\nasync def " +
			"g(): import d\nclass D:\n  import e\n  def h(self): import f\nimport g",
			"2 b function; 4 c function; 5 d function; 7 e; 8 f function; 9 g"},
		{"match", "match x:\n  case {'a': 1}:\n    import a\n  case [b]: import b\nmatch = case = type " +
			"= 1\ncase: int = 2\n", "3 a; 4 b"},
		{"old and new", "print `a`, a <> b\nexec 'import x' in y\ntype X[T] = int\nx = f'{a['import " +
			"b']}' t'{c}'\ntry:\n  import a\nexcept* E: import b",
			"6 a; 7 b"},
		{"typing", "if TYPE_CHECKING:\n  import a\nelse:\n  import b\nif not typing.TYPE_CHECKING: " +
			"import c\nelse: import d\nif x or TYPE_CHECKING: import e",
			"2 a typing if1; 4 b if1; 5 c if1; 6 d typing if1; 7 e if1"},
		{"typing without typing", "try:\n  from typing import TYPE_CHECKING\nexcept ImportError:\n  " +
			"TYPE_CHECKING = False\nif TYPE_CHECKING: import a\n",
			"2 typing(TYPE_CHECKING) optional try1; 5 a typing if1"},
		{"optional", "try:\n  import a\n  def f(): import b\nexcept (KeyError, ImportError):\n  import " +
			"c\nexcept: import d\nelse: import e\nfinally: import f",
			"2 a optional try1; 3 b function; 5 c handler catch1; 6 d handler catch1; 7 e else catch1; 8 f"},
		{"not optional", "try: import a\nexcept KeyError: import b\nelse: import c", "1 a; 2 b; 3 c"},
		{"optional by the second handler",
			"try: import a\nexcept KeyError: import b\nexcept ImportError: import c",
			"1 a optional try1; 2 b; 3 c handler catch1"},
		{"nested", "try:\n  import a\n  try: import b\n  except ImportError: import c\n  import d\n" +
			"except Exception, e: pass",
			"2 a optional try2; 3 b optional try1; 4 c optional,handler try2 catch1; 5 d optional try2"},
		{"lazy", "lazy import a, b.c as d\nlazy from .e import (f as g)\nlazy = import_ = 1; lazy(x); " +
			"import h", "1 a lazy; 1 b.c lazy; 2 .e(f) lazy; 3 h"},
		{"in a function", "def f():\n  try: import a\n  except ImportError: import b",
			"2 a function,optional try1; 3 b function,handler catch1"},
		{"nested in a handler", "try: import a\nexcept ImportError:\n  try: import b\n  except " +
			"ImportError: import c\n  else: import d",
			"1 a optional try1; 3 b optional,handler try2 catch1; 4 c handler catch2; 5 d handler,else " +
				"catch2"},
		{"suppress", "with contextlib.suppress(ImportError): import a\nwith suppress(KeyError): import b",
			"1 a optional try1; 2 b"},
		{"main", "if __name__ == '__main__':\n  import a\nelif x: import b\nif '__main__' != __name__: " +
			"import c\n", "2 a main if1; 3 b imported if1; 4 c imported if1"},
		{"calls", "a = __import__('b.c'), importlib.import_module('d'), x.import_module('e'), " +
			"import_module(f)\nimport_module('.g', __name__)",
			"1 b.c dynamic; 1 d dynamic; 2 .g dynamic"},
		{"calls in loops", "for x in ('a', 'b.c',):\n  if y:\n    __import__(x, z)\n  x.__import__(x)\n" +
			"for y in ['d']: __import__(y), __import__(x)\nelse: __import__(y)\n",
			"3 a dynamic; 3 b.c dynamic; 5 d dynamic"},
		{"calls in other loops", "for x in ('a'): __import__(x)\nfor x in 'a', y: __import__(x)\n" +
			"for x, y in ['a', 'b']: __import__(x)\nfor x in 'a', f'b', 'c':\n  __import__(x)\n" +
			"  def f(): __import__(x)\n  for y in x: __import__(x)\nfor x in ['a'] + ['b']: " +
			"__import__(x)\n", "5 a dynamic; 5 c dynamic"},
		{"calls in lambdas", "lambda x=__import__('a'): (__import__('b'), __import__('c')), " +
			"__import__('d')\ndef f(x=__import__('e')): pass",
			"1 a dynamic; 1 b function,dynamic; 1 c function,dynamic; 1 d dynamic; 2 e dynamic"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			info, err := Scan([]byte(tt.src))
			if got := show(info.Imports); err != nil || got != tt.want {
				t.Errorf("got  %s, %v\nwant %s", got, err, tt.want)
			}
		})
	}
}

func TestInfo(t *testing.T) {
	for _, tt := range []struct {
		src  string
		want Info
	}{
		{"import_ = '__doc__ __path__'", Info{}},
		{"print(__doc__)", Info{Doc: true}},
		{"print(f'{__doc__.strip()}')", Info{Doc: true}},
		{"__path__ = 1", Info{Path: true}},
		{"sys.set_lazy_imports('all')", Info{Lazy: true}},
		{"__lazy_modules__ = ['json']", Info{Lazy: true}},
		{"__import__('pkg_resources').declare_namespace(__name__)",
			Info{Path: true, Imports: []Import{{Line: 1, Module: "pkg_resources", Where: Dynamic}}}},
		{"__all__ = ['a', \"b\" 'c',\n 'd'] + x\n__all__ += ('e',)\n__all__ += f()",
			Info{All: []string{"a", "bc", "d", "e"}}},
		{"x\nif __name__ == '__main__':\n  a\n  '''b\n  c'''\n\n\nelse: d\n",
			Info{Guards: []Span{{2, 5, 2, 46}}}},
		{"if(a and '__main__'==__name__): b; c\nd\nif x: y\nelif __name__ == '__main__': e",
			Info{Guards: []Span{{1, 1, 0, 36}, {4, 4, 47, 77}}}},
		{"if __name__ != '__main__': a\nif __name__ == '__main__' or b: c\nif d:\n  if __name__ == " +
			"'__main__': e", Info{}},
	} {
		got, err := Scan([]byte(tt.src))
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s\ngot  %+v, %v\nwant %+v", tt.src, got, err, tt.want)
		}
	}
}

func TestImportsNotUnderstood(t *testing.T) {
	for _, src := range []string{
		"import", "import a.", "import a as", "import a b", "import a,", "from a", "from a import",
		"from import b", "from . import (a",
		"from a import (b c)", "from a import b.c", "from a import *, b", "from a import (b)c", "x = (",
		"# coding: utf-16\nimport a",
	} {
		if info, err := Scan([]byte(src)); err == nil || info.Imports != nil {
			t.Errorf("scan %s: got imports %s, want an error and none", src, show(info.Imports))
		}
	}
}

// TestHardToScan would not end in time if anything were quadratic.
func TestHardToScan(t *testing.T) {
	for name, src := range map[string]string{
		"clauses": "if a: pass\n" +
			strings.Repeat("elif sys.platform == 'x' and not (b or PY2): import c\n", 20_000),
		"handlers": "try:\n" + strings.Repeat("  import a\n", 50_000) +
			strings.Repeat("except ImportError: import b\n", 20_000),
		"names": "a = PY3 = sys.version_info > (3,)\n" +
			strings.Repeat("a = a and a or a and a or not a\nif a: import b\n", 20_000),
		"blocks": deep("if os.name == 'nt':", 1000) +
			strings.Repeat(strings.Repeat(" ", 1000)+"if PY2: import a\n", 1000),
		"brackets": strings.Repeat("if "+strings.Repeat("(", 90)+"PY2"+strings.Repeat(")", 90)+
			": import a\n", 5000),
		"lambdas": "x = " + strings.Repeat("lambda: (__import__('a'), ", 20_000) +
			strings.Repeat(")", 20_000),
		"one line":   "if a: " + strings.Repeat("import b; ", 100_000),
		"heads":      strings.Repeat("if a: ", 100_000),
		"assignment": strings.Repeat("a = ", 100_000) + "1",
	} {
		t.Run(name, func(t *testing.T) {
			info, err := Scan([]byte(src))
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range info.Imports {
				i.Taken(Target{Version: [3]int{3, 8, 0}})
			}
		})
	}
}

func deep(head string, n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + head + "\n")
	}
	return b.String()
}

func FuzzScan(f *testing.F) {
	for _, s := range []string{
		"from __future__ import x\nimport a.b as c, d\nfrom ..e import (f as g, h,)\n",
		"if sys.version_info[:2] >= (3, 8) and not TYPE_CHECKING or os.name in ('nt', 'x'):\n import " +
			"a\nelif PY2: import b\nelse:\n import c\n",
		"try:\n import a\nexcept (ImportError, KeyError), e:\n import b\nelse: import c\nfinally: " +
			"import d\n",
		"def f(x=lambda: __import__('a'), *, y: {1: 2} = 3) -> z: import b\nclass A: x = " +
			"importlib.import_module('.b', __name__)\n",
		"PY3 = sys.version_info[0] == 3\n__all__ = ['a', \"b\" 'c']\nif __name__ == '__main__': import " +
			"x\n",
		"match x:\n  case {'a': 1}: import y\nasync with z as a: import b\nwith suppress(ImportError): " +
			"import d",
		"import a as", "from . import (a as", "from x import a as\n", "import a.", "x = __import__(",
		"if", "a,b=", "if not in is:import a",
	} {
		f.Add([]byte(s))
	}
	targets := []Target{{}, {Version: [3]int{2, 7, 18}, Platform: "linux2"},
		{Version: [3]int{3, 13, 0}, Implementation: "pypy", OSName: "nt"}}
	f.Fuzz(func(t *testing.T, src []byte) {
		info, min, err := Read(src, Options{})
		if err != nil {
			return
		}
		for _, i := range info.Imports {
			for _, target := range targets {
				i.Taken(target)
			}
		}
		for _, g := range info.Guards {
			if g.Start >= g.End || g.End > len(src) || g.Line > g.Last {
				t.Fatalf("%q: guard %+v", src, g)
			}
		}
		again, err := Scan(min)
		if err != nil || show(again.Imports) != show(info.Imports) {
			t.Fatalf("%q: %s\nminified %q: %s, %v", src, show(info.Imports), min, show(again.Imports), err)
		}
	})
}
