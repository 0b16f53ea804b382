package pysource

import (
	"strings"
	"testing"
)

func TestReadSearchPath(t *testing.T) {
	for source, want := range map[string]string{
		"x = 'a' 'oops\n": "|", "x = 'a'?\n": "|", "x = 'a' \"\"\"oops": "|",
		"sys.path.insert(0, os.path.join(os.path.dirname(__file__), 'lib'))":                  "lib |",
		"sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'a', 'b'))": "| a/b",
		"here = os.path.dirname(os.path.realpath(__file__))\n" +
			"sys.path.insert(1, join(here, \"lib\"))": "lib |",
		"here = dirname(abspath(__file__))\nlib = here + '/lib'\nsys.path.append(lib)":    "| lib",
		"sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))": ".. |",
		"sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'src'))":        "../src |",
		"sys.path.insert(0, str(Path(__file__).resolve().parent / 'lib'))":                "lib |",
		"sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))":                   ".. |",
		"sys.path.append(str(Path(__file__).absolute().parents[1] / 'x' / 'y'))":          "| ../x/y",
		"ROOT = Path(__file__).parent\nLIB = ROOT.joinpath('a', 'b')\n" +
			"sys.path.append(str(LIB))": "| a/b",
		"sys.path[0:0] = [os.path.join(os.path.dirname(__file__), d) for d in x]":       "|",
		"sys.path[:0] = [dirname(__file__) + '/a', dirname(__file__) + '/b']":           "a b |",
		"sys.path += [os.path.join(os.path.dirname(__file__), 'lib')]":                  "| lib",
		"sys.path = [join(dirname(__file__), 'lib')] + sys.path":                        "lib |",
		"sys.path.extend((join(dirname(__file__), 'a'), join(dirname(__file__), 'b')))": "| a b",
		"site.addsitedir(os.path.join(os.path.dirname(os.path.abspath(__file__)), " +
			"'vendor'))": "| vendor",
		"sys.path.insert(0, os.path.join(os.path.dirname(sys.argv[0]), 'lib'))":    "lib |",
		"sys.path.insert(0, os.path.join(sys.path[0], 'lib'))":                     "lib |",
		"sys.path.insert(0, '%s/lib' % os.path.dirname(__file__))":                 "lib |",
		"sys.path.insert(0, os.path.split(os.path.abspath(__file__))[0] + '/lib')": "lib |",
		"sys.path.append(os.path.join(dirname(__file__), os.pardir, 'lib'))":       "| ../lib",
		"for d in ('lib', 'vendor'):\n" +
			"    sys.path.append(join(dirname(__file__), d))": "| lib vendor",
		"if x:\n    here = dirname(__file__)\nelse:\n    here = join(dirname(__file__), 'b')\n" +
			"sys.path.append(here + '/a')": "| a b/a",
		"if 1: sys.path.insert(0, join(dirname(__file__), 'lib'))": "lib |",
		"def f():\n    sys.path.insert(0,\n        join(dirname(__file__),\n" +
			"             'lib'))": "lib |",
		"f = inspect.getfile(inspect.currentframe())\n" +
			"sys.path.append(dirname(abspath(f)) + '/lib')": "| lib",
		"sys.path.insert(0, '/opt/lib')\nsys.path.append('lib')\nsys.path.insert(0, unknown)":       "|",
		"sys.path.insert(0, join(dirname(__file__), '/opt'))\nsys.path.append(join(home(), 'lib'))": "|",
		"print(sys.path)\nsys.path.remove(x)\nsys.path.pop(0)\nsys.path.append(":                    "|",
		"x = {1: (2, [3})\nsys.path.append(join(dirname(__file__), f(1), 'lib'))":                   "|",
	} {
		searches(t, source, want)
	}
}

// Other forms of the same that scripts have.
func TestReadSearchPathForms(t *testing.T) {
	for _, c := range []struct{ source, want string }{
		{"sys.path[0:0] = [join(dirname(__file__), d) for d in ('lib', 'vendor')]",
			"lib vendor |"},
		{"sys.path.extend(join(dirname(__file__), d) for d in ['a', 'b'] if isdir(d))",
			"| a b"},
		{"here = dirname(__file__) or '.'\nsys.path.append(join(here, 'lib'))",
			"| lib"},
		{"sys.path.append(join(dirname(__file__) or os.getcwd(), 'lib'))",
			"| lib"},
		{"d = dirname(__file__) if frozen else dirname(sys.argv[0])\nsys.path.append(d + '/lib')",
			"| lib"},
		{"sys.path.insert(0, os.environ.get('LIB', join(dirname(__file__), 'lib')))",
			"lib |"},
		{"sys.path.insert(0, os.getenv('LIB') or join(dirname(__file__), 'lib'))",
			"lib |"},
		{"d = dirname(__file__)\nsys.path.append(f'{d}/lib')",
			"| lib"},
		{"sys.path.append(f\"{os.path.dirname(__file__)}/a/{'b'}\")",
			"| a/b"},
		{"sys.path.append(f'{x}/lib')\nsys.path.append(f'{dirname(__file__)}lib')",
			"|"},
		{"sys.path.append(f'{{}}')\nsys.path.append(f'{' f'{dirname(__file__)}' 'x'",
			"|"},
		{"sys.path.append('{}/lib'.format(dirname(__file__)))",
			"| lib"},
		{"sys.path.append('%s/%s/c' % (dirname(__file__), 'lib'))",
			"| lib/c"},
		{"def here():\n    return dirname(__file__)\nsys.path.append(here() + '/lib')",
			"| lib"},
		{"ROOT: Path = Path(__file__).parent\nsys.path.append(str(ROOT / 'lib'))",
			"| lib"},
		{"try: sys.path.append(join(dirname(__file__), 'lib'))\nfinally: x = 1",
			"| lib"},
		{"from sys import path, argv\npath.insert(0, join(dirname(__file__), 'lib'))",
			"lib |"},
		{"from os import path\npath.insert(0, join(dirname(__file__), 'lib'))",
			"|"},
	} {
		searches(t, c.source, c.want)
	}
}

// searches fails unless source puts these directories on sys.path.
func searches(t *testing.T, source, want string) {
	t.Helper()
	p := ReadSearchPath([]byte(source))
	got := strings.TrimSpace(strings.Join(p.Before, " ") + " | " + strings.Join(p.Behind, " "))
	if got != want {
		t.Errorf("%s\ngot %q, want %q", source, got, want)
	}
}
