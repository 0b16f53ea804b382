package packages

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/testpython"
)

// Packages with extension modules, installed on the engine's side only: what they do in a context
// that can't see them, called and as a program, in copies of it and in workers.

// nativePins are like pins.
//
//go:embed testdata/native-pins.txt
var nativePins string

// natives are the packages that are tried, each with libraries or a kind of extension module of
// its own.
var natives = []use{
	{name: "markupsafe", body: "import markupsafe, markupsafe._speedups\n" +
		"file = markupsafe._speedups.__file__\nassert file[-3:] == '.so' and file[:10] == " +
		"'/dev/null/', file\nreturn str(markupsafe.escape('<a>')) == '&lt;a&gt;' and open(file, " +
		"'rb').read(4) == b'\\x7fELF'"},
	{name: "pyyaml", body: "import yaml\nreturn yaml.load('a: [1]', Loader=yaml.CSafeLoader) == " +
		"{'a': [1]}"},
	{name: "cryptography", body: "from cryptography.fernet import Fernet\nf = " +
		"Fernet(Fernet.generate_key())\n" +
		"return f.decrypt(f.encrypt(b'secret')) == b'secret'"},
	{name: "pydantic", body: "import pydantic\nreturn pydantic.create_model('M', a=(int, " +
		"0))(a='3').a == 3"},
	{name: "numpy", body: "import numpy\na = numpy.arange(6).reshape(2, 3).astype(float)\n" +
		"return a.dot(a.T).tolist() == [[5, 14], [14, 50]] and numpy.linalg.inv(numpy.eye(2) * " +
		"2)[0].tolist() == [.5, 0]"},
	{name: "lxml", body: "from lxml import etree\nreturn " +
		"etree.fromstring('<a><b>1</b></a>').xpath('string(b)') == '1'"},
	{name: "orjson", body: "import orjson\nreturn orjson.loads(orjson.dumps({'a': [1, 2.5]})) == " +
		"{'a': [1, 2.5]}"},
	{name: "psycopg2-binary", body: "import psycopg2.extensions\n" +
		"return psycopg2.__libpq_version__ > 0 and psycopg2.extensions.adapt(1).getquoted() == b'1'"},
	{name: "charset_normalizer", pure: true, body: "import charset_normalizer\n" +
		"return charset_normalizer.from_bytes(b'hello world, and more').best().encoding == 'ascii'"},
}

// TestNatives does what natives say on the interpreters that they are installed for: all of it
// with MITOGEN_SOAK or MITOGEN_PROGRAMS, a pattern for their names (make test-packages), else one
// of the small ones on one interpreter.
func TestNatives(t *testing.T) {
	if testpython.Blind(t) == "env " {
		t.Skip("a target that doesn't share this disk needs root")
	}
	pattern := os.Getenv("MITOGEN_PROGRAMS")
	all := os.Getenv("MITOGEN_SOAK") != "" || pattern != ""
	wanted := regexp.MustCompile(pattern)
	type cell struct {
		u       use
		version string
		p       testpython.Interp
	}
	var cells []cell
	for _, p := range testpython.Find() {
		version := fmt.Sprintf("%d.%d", p.Major, p.Minor)
		for i, u := range natives {
			pinned := pinnedIn(nativePins, u.name, version) != nil
			if p.Impl == "cpython" && pinned && wanted.MatchString(u.name) && (all || i < 2) {
				cells = append(cells, cell{u, version, p})
			}
		}
	}
	if !all && len(cells) > 0 {
		i := testpython.Draw(t.Name()).IntN(len(cells))
		cells = cells[i : i+1]
	}
	for _, c := range cells {
		t.Run(c.u.name+"/"+c.version, func(t *testing.T) {
			dir, err := installPins(c.u.name, c.version, pinnedIn(nativePins, c.u.name, c.version), c.p.Path)
			if err != nil {
				t.Fatal(err)
			}
			t.Log(tryNative(t, c.u, dir, c.p))
			runNative(t, c.u, dir, c.p)
		})
	}
}

// tryNative calls a function that does what u says, and returns what that has cost.
func tryNative(t *testing.T, u use, dir string, p testpython.Interp) string {
	t.Helper()
	c := nativeContext(t, dir, p, fstest.MapFS{"try_it.py": {Data: []byte(module(u.body))}},
		mitogen.Options{})
	before := c.Stats()
	ok, err := mitogen.Call[bool](t.Context(), c, "try_it:use")
	if err != nil || !ok {
		t.Errorf("call: got %v, %v", ok, err)
	}
	s := c.Stats()
	if s.Native == 0 && !u.pure {
		t.Error("no extension module was sent")
	}
	return fmt.Sprintf("%d round trips, %d kB, of which %d kB are extension modules before they are "+
		"packed",
		s.RoundTrips-before.RoundTrips, (s.BytesDown-before.BytesDown)/1000, s.Native/1000)
}

// nativeProgram uses a package, then in a copy of itself, then in workers of each kind that there
// is.
const nativeProgram = `
import os, sys
%s
if __name__ == '__main__':
    print(use())
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        print(use())
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(pid, 0)
    import multiprocessing
    kinds = getattr(multiprocessing, 'get_all_start_methods', lambda: [])()
    for kind in kinds:
        pool = multiprocessing.get_context(kind).Pool(1)
        print(pool.apply(use))
        pool.close()
        pool.join()
    if not kinds:
        print(multiprocessing.Pool(1).apply(use))
`

// runNative runs nativeProgram with u.
func runNative(t *testing.T, u use, dir string, p testpython.Interp) {
	t.Helper()
	c := nativeContext(t, dir, p, nil, mitogen.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	status, err := c.Run(ctx, mitogen.Script{Name: "program.py", Stdout: &out, Stderr: &errs,
		Source: fmt.Appendf(nil, nativeProgram, module(u.body))})
	want := strings.Repeat("True\n", 3)
	if p.Major > 2 {
		want = strings.Repeat("True\n", 5)
	}
	if err != nil || status != 0 || out.String() != want {
		t.Errorf("run: got status %d, %v, %.200q\n%.2000s", status, err, out.String(), errs.String())
	}
}

// nativeContext connects a context that can't see dir, whose packages it may be sent.
func nativeContext(t *testing.T, dir string, p testpython.Interp, own fs.FS,
	o mitogen.Options) *mitogen.Context {
	t.Helper()
	var path modules.Path
	t.Cleanup(func() { path.Close() })
	if err := path.AddSite(dir); err != nil {
		t.Fatal(err)
	}
	for _, e := range path.Entries {
		o.Packages = append(o.Packages, e.FS)
	}
	if own != nil {
		o.Path = []fs.FS{own}
	}
	e, err := mitogen.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	c, err := e.Connect(t.Context(), "local",
		mitogen.ConnectOptions{Options: connect.Options{Python: []string{testpython.Blind(t,
			dir) + p.Path + " -S -s"}}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func pinnedIn(pins, name, version string) []string {
	for line := range strings.Lines(pins) {
		if f := strings.Fields(line); f[0] == name && f[1] == version {
			return f[2:]
		}
	}
	return nil
}

// importing is code of the user's own: it returns the text of the error that an import of d._x
// raises.
const importing = `
def direct():
    try:
        import d._x
    except ImportError as e:
        return str(e)
def taken():
    try:
        from d import _x
    except ImportError as e:
        return str(e)
`

// TestNativesRefused: a program sees in the ImportError why an extension module isn't there, and
// nothing else fails.
func TestNativesRefused(t *testing.T) {
	p, ok := testpython.Default()
	if !ok {
		t.Skip("no python3")
	}
	minor := fmt.Sprintf("cp%d%d", p.Major, p.Minor)
	suffix := fmt.Sprintf("cpython-%d%d-%s-linux-gnu.so", p.Major, p.Minor, p.Machine)
	object, _ := extension(t, p)
	for _, tt := range []struct {
		what, tag, file, want string
		o                     mitogen.Options
	}{
		{what: "by hand", file: "_x." + suffix, want: "no wheel has brought it"},
		{what: "another minor version", tag: "cp35-cp35m-manylinux1_x86_64",
			file: "_x.cpython-35m-x86_64-linux-gnu.so", want: "its wheel is for cp35-cp35m"},
		{what: "another machine", tag: minor + "-" + minor + "-manylinux_2_17_vax", file: "_x." + suffix,
			want: "manylinux_2_17_vax, the target is CPython"},
		{what: "another libc", tag: minor + "-" + minor + "-musllinux_1_2_" + p.Machine,
			file: "_x." + suffix, want: "musllinux_1_2"},
		{what: "no ELF", tag: minor + "-" + minor + "-linux_" + p.Machine, file: "_x." + suffix,
			want: "read shared object"},
		{what: "not wanted", tag: minor + "-" + minor + "-linux_" + p.Machine, file: "_x." + suffix,
			want: "--no-native is in force", o: mitogen.Options{NoNative: true}},
	} {
		t.Run(tt.what, func(t *testing.T) {
			data := object
			if tt.what == "no ELF" {
				data = []byte("text")
			}
			for _, function := range []string{"direct", "taken"} {
				c := nativeContext(t, fakeWheel(t, tt.tag, tt.file, data), p,
					fstest.MapFS{"mine.py": {Data: []byte(importing)}}, tt.o)
				got, err := mitogen.Call[string](t.Context(), c, "mine:"+function)
				if err != nil || !strings.Contains(got, tt.want) || !strings.Contains(got, "d/"+tt.file) {
					t.Errorf("%s: got %q, %v, want %q", function, got, err, tt.want)
				}
			}
		})
	}
}

// fakeWheel is a site-packages directory with package d, of one file besides __init__; tag "": no
// wheel brought it.
func fakeWheel(t *testing.T, tag, file string, data []byte) string {
	t.Helper()
	sum := sha256.Sum256(data)
	files := map[string]string{"d/__init__.py": "", "d/" + file: string(data)}
	if tag != "" {
		files["d-1.dist-info/WHEEL"] = "Tag: " + tag + "\n"
		files["d-1.dist-info/RECORD"] = "d/" + file + ",sha256=" +
			base64.RawURLEncoding.EncodeToString(sum[:]) + ",1\n"
	}
	return site(t, files)
}

// TestNativeBudget: extension modules that are too large together aren't sent, and the error names
// the budget.
func TestNativeBudget(t *testing.T) {
	p, ok := testpython.Default()
	if !ok {
		t.Skip("no python3")
	}
	object, suffix := extension(t, p)
	tag := fmt.Sprintf("cp%d%d-cp%d%d-linux_%s", p.Major, p.Minor, p.Major, p.Minor, p.Machine)
	for _, tt := range []struct {
		budget int64
		want   string
	}{{0, ""}, {int64(len(object)), ""}, {int64(len(object)) - 1, "(--native-budget)"},
		{1, "(--native-budget)"}} {
		c := nativeContext(t, fakeWheel(t, tag, "_x"+suffix, object), p,
			fstest.MapFS{"mine.py": {Data: []byte(importing)}},
			mitogen.Options{NativeBudget: tt.budget})
		got, err := mitogen.Call[string](context.WithoutCancel(t.Context()), c, "mine:direct")
		refused := strings.Contains(got, "(--native-budget)")
		if err != nil || refused != (tt.want != "") {
			t.Errorf("budget %d for %d bytes: got %q, %v, want %q", tt.budget, len(object), got, err,
				tt.want)
		}
		if sent := c.Stats().Native; (sent == 0) != refused {
			t.Errorf("budget %d: got %d bytes sent", tt.budget, sent)
		}
	}
}

// TestNativesTooLarge: the user is told of what isn't sent because of its size, once, whatever the
// program does with the error.
func TestNativesTooLarge(t *testing.T) {
	p, ok := testpython.Default()
	if !ok {
		t.Skip("no python3")
	}
	object, suffix := extension(t, p)
	tag := fmt.Sprintf("cp%d%d-cp%d%d-linux_%s", p.Major, p.Minor, p.Major, p.Minor, p.Machine)
	for _, tt := range []struct {
		what   string
		budget int64
		size   int64 // 0: as it is
		want   string
	}{
		{"fits", 0, 0, ""}, {"budget", 1, 0, "(--native-budget)"},
		{"file", 0, 121 << 20, "it has 121 MiB, and at most 120 MiB are sent: install the package there"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			dir := fakeWheel(t, tag, "_x"+suffix, object)
			if tt.size > 0 {
				if err := os.Truncate(filepath.Join(dir, "d/_x"+suffix), tt.size); err != nil {
					t.Fatal(err)
				}
			}
			var log bytes.Buffer
			t.Cleanup(func() { // the engine has been closed
				want := 1
				if tt.want == "" {
					want = 0
				}
				if n := strings.Count(log.String(), "package=d"); n != want ||
					!strings.Contains(log.String(), tt.want) {
					t.Errorf("got %d warnings, want %d with %q; the log:\n%s", n, want, tt.want, log.String())
				}
			})
			level := &slog.HandlerOptions{Level: slog.LevelWarn}
			c := nativeContext(t, dir, p, fstest.MapFS{"mine.py": {Data: []byte(importing)}},
				mitogen.Options{NativeBudget: tt.budget,
					Logger: slog.New(slog.NewTextHandler(&log, level))})
			for _, function := range []string{"direct", "taken"} {
				got, err := mitogen.Call[string](t.Context(), c, "mine:"+function)
				if err != nil || !strings.Contains(got, tt.want) {
					t.Errorf("%s: got %q, %v, want %q", function, got, err, tt.want)
				}
			}
		})
	}
}

// extension returns an extension module of p's own, and its suffix.
func extension(t *testing.T, p testpython.Interp) (data []byte, suffix string) {
	t.Helper()
	found, _ := filepath.Glob(filepath.Join(filepath.Dir(filepath.Dir(p.Path)), "lib",
		fmt.Sprintf("python%d.%d", p.Major, p.Minor),
		"lib-dynload", "_*.so"))
	for _, file := range found {
		if data, err := os.ReadFile(file); err == nil {
			base := filepath.Base(file)
			return data, base[strings.Index(base, "."):]
		}
	}
	t.Skip("no extension module to be had")
	return nil, ""
}
