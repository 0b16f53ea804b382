package closure

import (
	"slices"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/pysource"
)

// TestNamed says which modules code names, in each way that Python has.
func TestNamed(t *testing.T) {
	world := map[string]string{
		"+lib/": "", "+lib.a": "", "+lib.b": "", "+lib.c/": "", "+lib.c.d": "",
		"+other": "import third", "+third": "", "foreign/": "import needed",
		"foreign.x": "", "needed": "",
		"+lazy/":   "def __getattr__(name):\n return importlib.import_module('.' + name, __name__)",
		"+listed/": "__all__ = ['one']",
	}
	for _, c := range []struct {
		name, source string
		t            pysource.Target
		yes, no      string
	}{
		{"at module level", "import lib.a", python3, "main lib lib.a", "lib.b other third secret"},
		{"in a function", "def f():\n import lib.c.d", python3, "lib lib.c lib.c.d", "lib.a"},
		{"a name from a package", "def f():\n from lib import a", python3, "lib lib.a",
			"lib.b"},
		{"in a try", "try:\n import fast\nexcept ImportError:\n import other", python3,
			"fast other third", "secret"},
		{"in a condition", "if sys.platform == 'win32':\n import other", python3, "other", "third"},
		{"for type checkers", "if TYPE_CHECKING:\n import other", python3, "main", "other"},
		{"in the main guard of a module", "if __name__ == '__main__':\n import other", python3,
			"main", "other"},
		{"by import_module", "import importlib\ndef f():\n return importlib.import_module('lib.a')",
			python3, "lib lib.a", "lib.b"},
		{"by __import__", "def f():\n return __import__('other')", python3, "other third", "secret"},
		{"by an alias", "from importlib import import_module as load\nload('other')", python3,
			"main", "other"},
		{"by find_spec", "from importlib.util import find_spec\nx = find_spec(\"lib.b\")", python3,
			"lib.b", "lib.a"},
		{"by resolve_name", "import pkgutil\ndef f():\n return pkgutil.resolve_name('lib.a:f')",
			python3, "lib.a", "lib.b"},
		{"by a made-up name",
			"import importlib\ndef f(n):\n return importlib.import_module('lib.' + n)", python3,
			"main", "lib.a lib.b"},
		{"in text", "x = 'lib.a'  # import lib.b\ny = 'import other'", python3, "main",
			"lib.a lib.b other"},
		{"of the standard library", "import os, secrets, logging.handlers", python3, "main",
			"os secrets logging logging.handlers"},
		{"implicitly relative no more", "import lib.a", python3, "lib.a", "main.lib"},
		{"of a third-party package", "import foreign", python3,
			"foreign foreign.x foreign.anything needed", "foreigner secret"},
		{"of one that is used late", "def f():\n import foreign", python3, "foreign",
			"foreign.x needed"},
		{"of a package that imports its modules late", "import lazy", python3, "lazy lazy.x",
			"lazy.x.y lib"},
		{"of a package that lists them", "from listed import *", python3, "listed listed.one",
			"listed.two"},
		{"of time zones", "def f():\n import zoneinfo", python3, "tzdata tzdata.zoneinfo", "lib"},
	} {
		sources := map[string]string{"+main": c.source}
		for name, text := range world {
			sources[name] = text
		}
		named := Of(newFake(t, sources), c.t, []string{"main"}).Named()
		for _, name := range strings.Fields(c.yes) {
			if !named.Has(name) {
				t.Errorf("%s: %s isn't named", c.name, name)
			}
		}
		for _, name := range strings.Fields(c.no) {
			if named.Has(name) {
				t.Errorf("%s: %s is named", c.name, name)
			}
		}
	}
}

// A program names what its main guard imports; the modules that it imports don't name what theirs
// import.
func TestNamedByProgram(t *testing.T) {
	text := []byte("if __name__ == '__main__':\n import a\nelse:\n import b\ndef f():\n import c\n")
	info, err := pysource.Scan(text)
	if err != nil {
		t.Fatal(err)
	}
	program := &modules.Module{Name: "__main__", Letter: modules.Plain, Source: text, Code: text,
		Own:  true,
		Info: info, Scanned: true}
	c := OfProgram(newFake(t, map[string]string{"+a": "if __name__ == '__main__':\n import d",
		"+b": "", "+c": "", "+d": ""}), python3, program, nil)
	for name, want := range map[string]bool{"a": true, "b": false, "c": true, "d": false,
		"__main__": false} {
		if got := c.Named().Has(name); got != want {
			t.Errorf("%s: named %v, want %v", name, got, want)
		}
	}
	if code := c.Code(); len(code) != 3 || !slices.Contains(code, program) {
		t.Errorf("%d pieces of code, want the program, a and c", len(code))
	}
}

// Names that were put together are all there.
func TestNamesAdd(t *testing.T) {
	var n Names
	if !n.Empty() || n.Has("") || n.Has("a") {
		t.Error("the zero value holds something")
	}
	for _, source := range []string{"import a.b", "import foreign", "import lazy"} {
		n.Add(Of(newFake(t, map[string]string{"+main": source, "foreign/": "",
			"+lazy/": "def __getattr__(n): return __import__(n)"}), python3,
			[]string{"main"}).Named())
	}
	for name, want := range map[string]bool{"main": true, "a": true, "a.b": true,
		"foreign.x.y": true, "lazy.x": true, "a.c": false, "x": false} {
		if got := n.Has(name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
