package integration

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/testpython"
	"github.com/mitogen-go/mitogen/report"
)

// own is a package of the user's, some of it needing a foreign one.
func own() fstest.MapFS {
	return mapFS(map[string]string{
		"app/__init__.py": "",
		"app/api.py": "import app.core\nfrom app.deep.inner import value\ndef f():\n    " +
			"return app.core.one() + value\n",
		"app/core.py":          "import os\nimport app.api\ndef one():\n    return 1\n",
		"app/deep/__init__.py": "",
		"app/deep/inner.py": "try:\n    from app.deep import speedups\nexcept ImportError:\n    " +
			"value = 41\n",
		"app/user.py":  "import vend\ndef f():\n    return vend.total()\n",
		"app/later.py": "def f():\n    import vend.extra\n    return vend.extra.value\n",
	})
}

// vend is a foreign package of many modules: a cycle, optional imports, some for other Pythons,
// names that are nowhere.
func vend() map[string]string {
	files := map[string]string{
		"vend/__init__.py": "from vend.a import a\nfrom vend import names\n" +
			"def total():\n    import sys\n    return a() + len([n for n in sys.modules if " +
			"n.startswith('vend.m')])\n",
		"vend/a.py": "import vend.b\ndef a():\n    return vend.b.b()\n",
		"vend/b.py": "import vend.a\nimport companion\ndef b():\n    return companion.value\n",
		"vend/names.py": "import sys\ntry:\n    import vend_speedups\nexcept ImportError:\n    " +
			"vend_speedups = None\n",
		"vend/py2.py": "", "vend/py3.py": "",
		"vend/extra.py": "import companion\nvalue = companion.value * 2\n",
		"companion.py":  "value = 100\n",
	}
	files["vend/names.py"] += "if sys.version_info[0] == 2:\n    import vend.py2\nelse:\n    import " +
		"vend.py3\n"
	for i := range 15 {
		files[fmt.Sprintf("vend/m%d.py",
			i)] = fmt.Sprintf("# %s\ntry:\n    from vend import _c%d\nexcept ImportError:\n    pass\n"+
			"import vend.m%d\n",
			strings.Repeat("a comment that is not sent ", 20), i, (i+1)%15)
	}
	files["vend/names.py"] += "import vend.m0\n"
	return files
}

func mapFS(files map[string]string) fstest.MapFS {
	m := fstest.MapFS{}
	for name, text := range files {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}

// each runs a test on a sample of interpreters, by package testpython; on all in `make soak`, and
// with -short on one.
func each(t *testing.T, test func(t *testing.T, o mitogen.ConnectOptions)) {
	all := testpython.Sample(t.Name())
	if testing.Short() {
		all = all[len(all)-1:]
	}
	for _, p := range all {
		t.Run(p.Name(), func(t *testing.T) {
			test(t, mitogen.ConnectOptions{Options: connect.Options{Python: []string{p.Path}}})
		})
	}
}

func names(s report.Stats, why string) []string {
	var all []string
	for _, m := range s.Sent {
		if string(m.Reason) == why {
			all = append(all, m.Name)
		}
	}
	return all
}

// slow starts the interpreter late, so that a call is under way before it says hello.
func slow(t *testing.T, o mitogen.ConnectOptions) mitogen.ConnectOptions {
	file := filepath.Join(t.TempDir(), "slow")
	if err := os.WriteFile(file, []byte("#!/bin/sh\nsleep 0.3\nexec "+o.Python[0]+" \"$@\"\n"),
		0o755); err != nil {
		t.Fatal(err)
	}
	o.Python = []string{file}
	return o
}

// ask makes a call and says how many round trips it took.
func ask(t *testing.T, c *mitogen.Context, target string, want int) (trips int64) {
	t.Helper()
	before := c.Stats().RoundTrips
	got, err := mitogen.Call[int](t.Context(), c, target)
	if err != nil || got != want {
		t.Fatalf("call %s: got %d, %v; want %d", target, got, err, want)
	}
	return c.Stats().RoundTrips - before
}

// The user's own modules go with the call.
func TestOwnModulesCostNothing(t *testing.T) {
	each(t, func(t *testing.T, o mitogen.ConnectOptions) {
		e := engine(t, mitogen.Options{Path: []fs.FS{own()}})
		c, err := e.Start("local", slow(t, o))
		if err != nil {
			t.Fatal(err)
		}
		if n := ask(t, c, "app.api:f", 42); n != 1 {
			t.Error(n, "round trips with the start")
		}
		if s := c.Stats(); s.Asked+s.Questions != 0 || len(names(s, "call")) != 5 {
			t.Errorf("stats after the start: got %+v, want no question, and 5 modules for the call", s)
		}
		if n := ask(t, c, "app.core:one", 1); n != 1 {
			t.Error(n, "round trips then")
		}
		if s := c.Stats(); s.Asked+s.Questions != 0 || len(s.Sent) != 5 {
			t.Errorf("stats after the second call: got %+v, want no question, and 5 modules sent", s)
		}
	})
}

// Foreign ones cost a question, and nothing where that has been answered.
func TestForeignModulesCostAQuestion(t *testing.T) {
	each(t, func(t *testing.T, o mitogen.ConnectOptions) {
		e := engine(t, mitogen.Options{Path: []fs.FS{own()}, Packages: []fs.FS{mapFS(vend())}})
		c, err := e.Start("local", slow(t, o))
		if err != nil {
			t.Fatal(err)
		}
		if n := ask(t, c, "app.user:f", 115); n != 2 {
			t.Error(n, "round trips with the start")
		}
		s := c.Stats()
		if s.Asked != 0 || s.Questions != 1 || len(names(s, "bundle")) < 21 || s.Negative == 0 ||
			s.Minified != s.Found {
			t.Errorf("stats: got %+v, want one question, at least 21 modules by bundle, all minified", s)
		}
		if n := ask(t, c, "vend.a:a", 100); n != 1 {
			t.Error(n, "round trips then")
		}
		d, err := e.Start("local", slow(t, o))
		if err != nil {
			t.Fatal(err)
		}
		if n := ask(t, d, "app.user:f", 115); n != 2 {
			t.Error(n, "round trips of the second context")
		}
	})
}

// What is installed there isn't sent.
func TestInstalledModulesStay(t *testing.T) {
	dir := t.TempDir()
	for name, text := range vend() {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PYTHONPATH", dir)
	t.Setenv("PYTHONDONTWRITEBYTECODE", "1")
	each(t, func(t *testing.T, o mitogen.ConnectOptions) {
		e := engine(t, mitogen.Options{Path: []fs.FS{own()}, Packages: []fs.FS{mapFS(vend())}})
		c := connected(t, e, "local", o)
		if n := ask(t, c, "app.user:f", 115); n > 2 {
			t.Error(n, "round trips")
		}
		if s := c.Stats(); s.Questions != 1 || s.Asked != 0 || len(names(s, "bundle")) != 0 {
			t.Errorf("stats: got %+v, want one question and no bundle", s)
		}
	})
}

// What one context had to ask for in a call the next one gets with it.
func TestImportsInFunctionsAreLearned(t *testing.T) {
	each(t, func(t *testing.T, o mitogen.ConnectOptions) {
		e := engine(t, mitogen.Options{Path: []fs.FS{own()}, Packages: []fs.FS{mapFS(vend())}})
		c := connected(t, e, "local", o)
		ask(t, c, "app.later:f", 200)
		if s := c.Stats(); s.Asked == 0 || !slices.Contains(names(s, "asked"), "vend.extra") {
			t.Errorf("stats of the first context: got %+v, want vend.extra asked for", s)
		}
		d := connected(t, e, "local", o)
		if n := ask(t, d, "app.later:f", 200); n != 2 {
			t.Error(n, "round trips")
		}
		if s := d.Stats(); s.Asked != 0 || !slices.Contains(names(s, "learned"), "vend.extra") {
			t.Errorf("stats of the second context: got %+v, want vend.extra learned", s)
		}
	})
}

// A bundle passes a hop's link once, for however many contexts behind it.
func TestBundlesPassAHopOnce(t *testing.T) {
	files := vend()
	for i := range 15 {
		files[fmt.Sprintf("vend/m%d.py", i)] += fmt.Sprintf("text = %q\n", digits(20_000, uint64(i+1)))
	}
	e := engine(t, mitogen.Options{Path: []fs.FS{own()}, Packages: []fs.FS{mapFS(files)}})
	hop := connected(t, e, "local", mitogen.ConnectOptions{})
	before := hop.Stats().BytesDown
	var wg sync.WaitGroup
	var size int64
	for range 5 {
		c := connected(t, e, "local+local", mitogen.ConnectOptions{})
		wg.Go(func() {
			if got, err := mitogen.Call[int](t.Context(), c, "app.user:f"); err != nil || got != 115 {
				t.Error(got, err)
			}
			if s := c.Stats(); s.Asked != 0 || s.Questions != 1 {
				t.Errorf("stats: got %+v, want one question and nothing asked", s)
			}
		})
		size = max(size, c.Stats().Compressed)
	}
	wg.Wait()
	for _, c := range e.Contexts() {
		size = max(size, c.Stats().Compressed)
	}
	down := hop.Stats().BytesDown - before
	t.Logf("bundles of %d bytes, %d passed the hop's link", size, down)
	if size < 100_000 || down > size+size/2 {
		t.Errorf("bundles of %d bytes, %d passed the hop's link", size, down)
	}
}

// digits is text that can be compressed to half its size only.
func digits(n int, seed uint64) string {
	var b strings.Builder
	for x := seed * 88172645463325252; b.Len() < n; {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		fmt.Fprintf(&b, "%016x", x)
	}
	return b.String()
}
