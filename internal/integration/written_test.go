package integration

import (
	"bytes"
	"compress/zlib"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen"
)

// written is a third-party package in which docstrings, comments and lines matter.
func written() map[string]string {
	return map[string]string{
		"texts/__init__.py": "'''The package.'''\n# A comment.\n",
		"texts/help.py": "class C(object):\n    '''Of a class.'''\n\n    def f(self, x):  # why\n" +
			"        '''Of a function.\n\n        >>> C().f(1)\n        2\n        '''\n" +
			"        return (x   +   1)  # so\n\n\ndef only():\n    'nothing else'\n",
		"texts/fails.py": "def f(x):\n    # not this line\n    return {'a':   1 / x}  # but this one\n",
	}
}

// writtenUser uses it. Each function returns what must be true.
const writtenUser = `
import doctest, inspect, linecache, sys, traceback
import texts.help, texts.fails

def docs():
    f = texts.help.C.f
    return [texts.__doc__ == 'The package.', texts.help.C.__doc__ == 'Of a class.',
            (inspect.getdoc(f) or '').startswith('Of a function.'),
            texts.help.only.__doc__ == 'nothing else', doctest.testmod(texts.help).attempted == 1]

def source():
    return ['# why' in inspect.getsource(texts.help.C.f),
            'x   +   1)  # so' in inspect.getsource(texts.help.C),
            inspect.getsource(texts.help).endswith("'nothing else'\n"),
            linecache.getline(texts.__file__, 2, texts.__dict__) == '# A comment.\n']

def trace():
    try:
        texts.fails.f(0)
    except ZeroDivisionError:
        text = traceback.format_exc()
    line = "    return {'a':   1 / x}  # but this one\n"
    marks = (sys.version_info < (3, 11) or hasattr(sys, 'pypy_version_info') or
             line + "                   ~~^~~\n" in text)
    return [line in text, 'line 3, in f' in text, marks]
`

// TestWhatWasWritten checks that the engine sends sources unchanged, and shortened only if an
// option asks for that.
func TestWhatWasWritten(t *testing.T) {
	each(t, func(t *testing.T, o mitogen.ConnectOptions) {
		options := mitogen.Options{Path: []fs.FS{mapFS(map[string]string{"writtenuser.py": writtenUser})},
			Packages: []fs.FS{mapFS(written())}}
		c := connected(t, engine(t, options), "local", o)
		for _, function := range []string{"docs", "source", "trace"} {
			got, err := mitogen.Call[[]bool](t.Context(), c, "writtenuser:"+function)
			if err != nil {
				t.Errorf("call writtenuser:%s: got error %v, want none", function, err)
			}
			for i, ok := range got {
				if !ok {
					t.Errorf("%s: got false as item %d, want true", function, i)
				}
			}
		}
		if s := c.Stats(); s.Found != s.Minified || s.Files != 0 {
			t.Errorf("sent %d of %d bytes, %d questions for files, want all and none", s.Minified, s.Found,
				s.Files)
		}
		options.Strip = true
		c = connected(t, engine(t, options), "local", o)
		got, err := mitogen.Call[[]bool](t.Context(), c, "writtenuser:docs")
		if err != nil || len(got) != 5 || got[1] {
			t.Errorf("stripped: got %v, %v, want no docstrings", got, err)
		}
		if s := c.Stats(); s.Minified >= s.Found {
			t.Errorf("stripped: sent %d of %d bytes, want less", s.Minified, s.Found)
		}
	})
}

// lateUser imports in functions, and in copies of its process.
const lateUser = `
import os

def own():
    import helper
    from tools import one
    return helper.WHOSE + one.WHOSE + helper.more()

def copied():
    r, w = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            import helper, vend
            os.write(w, (helper.WHOSE + str(vend.total())).encode())
        finally:
            os._exit(0)
    os.close(w)
    os.waitpid(pid, 0)
    return os.read(r, 100).decode()
`

// What functions of the user's own code import wins over what the target has of that name, as at
// module level, and copies of the process have it.
func TestImportsInFunctions(t *testing.T) {
	theirs := t.TempDir()
	for _, name := range []string{"helper.py", "tools.py", "deep.py"} {
		if err := os.WriteFile(filepath.Join(theirs, name), []byte("WHOSE = 'theirs '\n"),
			0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PYTHONPATH", theirs)
	t.Setenv("PYTHONDONTWRITEBYTECODE", "1")
	each(t, func(t *testing.T, o mitogen.ConnectOptions) {
		e := engine(t, mitogen.Options{Packages: []fs.FS{mapFS(vend())},
			Path: []fs.FS{mapFS(map[string]string{
				"late.py": lateUser, "helper.py": "WHOSE = 'ours '\ndef more():\n    import deep\n    return " +
					"deep.WHOSE\n",
				"tools/__init__.py": "", "tools/one.py": "WHOSE = 'one '\n", "deep.py": "WHOSE = 'deep'\n",
			})}})
		for function, want := range map[string]string{"own": "ours one deep", "copied": "ours 115"} {
			c := connected(t, e, "local", o)
			if got, err := mitogen.Call[string](t.Context(), c, "late:"+function); got != want ||
				err != nil {
				t.Errorf("%s: got %q, %v, want %q", function, got, err, want)
			}
			if s := c.Stats(); s.Asked != 0 {
				t.Errorf("%s: got %d questions for modules, want none", function, s.Asked)
			}
		}
	})
}

// What was learned in one engine goes ahead in the next.
func TestLearnedIsKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "made", "learned.json")
	start := func() (*mitogen.Engine, *mitogen.Context) {
		e := engine(t, mitogen.Options{Path: []fs.FS{own()}, Packages: []fs.FS{mapFS(vend())},
			Learned: file})
		return e, connected(t, e, "local", mitogen.ConnectOptions{})
	}
	e, c := start()
	ask(t, c, "app.later:f", 200)
	if c.Stats().Asked == 0 {
		t.Fatal("nothing was asked, want a question")
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(file); err != nil || st.Mode() != 0o600 {
		t.Errorf("file: got %v, %v, want one for this user alone", st, err)
	}
	_, c = start()
	if n := ask(t, c, "app.later:f", 200); n != 2 || c.Stats().Asked != 0 {
		t.Errorf("got %d round trips, %d questions, want 2, 0", n, c.Stats().Asked)
	}
	if err := os.WriteFile(file, []byte(`{"version":1,"programs":[{"program":"app.later",`+
		`"names":["../x","a b",""]}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, c = start() // as if there were none
	ask(t, c, "app.later:f", 200)
}

// Where a context takes its time to answer, bundles are packed better meanwhile, and what can't be
// unpacked there isn't sent. Where the program of exec: leads isn't known, so that may be far.
func TestBundlesPackedBetter(t *testing.T) {
	var source []byte
	for _, name := range []string{"child_start", "child", "spawn"} {
		part, err := os.ReadFile("../../python/" + name + ".py")
		if err != nil {
			t.Fatal(err)
		}
		source = append(source, part...)
	}
	text := strings.ReplaceAll(string(source), "_", "-") // it mentions no place of a module
	var packed bytes.Buffer
	w := zlib.NewWriter(&packed)
	w.Write([]byte(strconv.Quote(text) + strconv.Quote(text[:9000])))
	w.Close()
	zlibs := int64(packed.Len())
	each(t, func(t *testing.T, o mitogen.ConnectOptions) {
		e := engine(t, mitogen.Options{
			Path: []fs.FS{mapFS(map[string]string{"user.py": "import wordy.a, wordy.b\ndef f():\n    " +
				"return len(wordy.a.TEXT) + len(wordy.b.TEXT)\n"})},
			Packages: []fs.FS{mapFS(map[string]string{"wordy/__init__.py": "",
				"wordy/a.py": "TEXT = " + strconv.Quote(text) + "\n",
				"wordy/b.py": "TEXT = " + strconv.Quote(text[:9000]) + "\n"})},
		})
		var first, last int64
		for range 3 {
			c, err := e.Start("exec:env", slow(t, o))
			if err != nil {
				t.Fatal(err)
			}
			ask(t, c, "user:f", len(text)+9000)
			s := c.Stats()
			if s.Asked != 0 {
				t.Errorf("got %d questions for modules, want none: a bundle is broken", s.Asked)
			}
			if last = s.Compressed; first == 0 {
				first = last
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
		t.Logf("%d bytes, then %d", first, last)
		if strings.Contains(t.Name(), "2.7") {
			if last != first {
				t.Errorf("got %d bytes, then %d, want the same: there is no _bz2", first, last)
			}
		} else if last > zlibs*9/10 {
			t.Errorf("got %d bytes, want less than nine tenths of zlib's %d", last, zlibs)
		}
	})
}
