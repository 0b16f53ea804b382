package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	_ "github.com/mitogen-go/mitogen/internal/testenv"
)

// tree writes files to a new directory.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, files)
	return dir
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// found measures files and returns the findings of a kind as FILE:LINE: TEXT.
func found(t *testing.T, kind string, files map[string]string) (all []string) {
	t.Helper()
	h, err := measure(tree(t, files))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range h.findings {
		if f.kind == kind {
			all = append(all, f.String())
		}
	}
	slices.Sort(all)
	return all
}

var long = strings.Repeat("x", 101)

// TestFindings has for each kind what is found and what is not.
func TestFindings(t *testing.T) {
	for _, test := range []struct {
		kind, file, text string
		want             []string
	}{
		{"wide", "a/a.go", "package a\n\n// " + long[:97] + "\n", nil},
		{"wide", "a/a.go", "package a\n\n// " + strings.Repeat("ü", 97) + "\n", nil},
		{"wide", "a/a.go", "package a\n\n// " + long[:98] + "\n", []string{
			"a/a.go:3: 101 columns: // " + long[:57] + "…"}},
		{"wide", "s.sh", "# " + long + "\r\n", []string{"s.sh:1: 103 columns: # " + long[:58] + "…"}},
		{"wide", "testdata/a.py", "# " + long + "\n", nil},

		{"form", "a.go", "package a\n\n// limit is how much there may be.\nconst limit = 1\n",
			[]string{"a.go:3: limit is how much there may be."}},
		{"form", "a.go", "package a\n\n// These two are\n// what is left.\nvar x, y int\n",
			[]string{"a.go:3: These two are what is left."}},
		{"form", "a.go", "package a\n\nconst limit = 1 // limit is who may\n",
			[]string{"a.go:3: limit is who may"}},
		{"form", "a.go", "package a\n\n// limit bounds what is read.\nconst limit = 1\n", nil},
		{"form", "a.go", "package a\n\nvar s = \"limit is how\"\n", nil},
		{"form", "a.py", "# LIMIT is where it ends.\nLIMIT = 1\ns = '# s is what'\n",
			[]string{"a.py:1: LIMIT is where it ends."}},
		{"form", "a.py", "def f():\n    \"\"\"f is when it begins.\n\n    More.\"\"\"\n",
			[]string{"a.py:2: f is when it begins. More."}},

		{"actor", "a.go", "package a\n\n// f tells nobody,\n// and leaves others alone.\nfunc f() {}\n",
			[]string{"a.go:3: nobody", "a.go:4: others"}},
		{"actor", "a.go", "package a\n\n// f returns one\n// that fits; the bother is otherwise.\nfunc " +
			"f() {}\n",
			[]string{"a.go:3: one that"}},
		{"actor", "a.py", "x = 1   # those which are left\ny = 'nobody'\n",
			[]string{"a.py:1: those which"}},

		{"wordless", "a_test.go", `package a
func TestA(t *testing.T) {
	t.Errorf("%v, %d", 1, 2)
	t.Fatalf("%[1]q %5.2f%%", "a")
	t.Errorf("got %v", 1)
	t.Error(1)
	fmt.Errorf("%v", 1)
	l.t.Fatalf("%s: %d", "a", 1)
}
`, []string{`a_test.go:3: "%v, %d"`, `a_test.go:4: "%[1]q %5.2f%%"`, `a_test.go:8: "%s: %d"`}},
		{"wordless", "a.go", "package a\n\nfunc f() { t.Errorf(\"%v\", 1) }\n", nil},

		{"alias", "a.go", "package a\n\ntype A = b.A\ntype (\n\tB struct{}\n\tC = int\n\td = int\n)\n",
			[]string{"a.go:3: A", "a.go:6: C"}},
		{"alias", "sub/a.go", "package a\n\ntype A = b.A\n", nil},
		{"fields", "a.go", "package a\n\ntype A struct {\n\tx, y int\n\tB\n}\n",
			[]string{"a.go:3: ..A: 3"}},
		{"methods", "a.go", "package a\n\ntype A struct{}\n\nfunc (A) F() {}\nfunc (a *A) G() {}\n",
			[]string{"a.go:3: ..A: 2"}},
		{"go-function", "a.go", "package a\n\nfunc f() {\n}\n", []string{"a.go:3: f: 2"}},
		{"go-function", "a_test.go", "package a\n\nfunc f() {\n}\n", nil},
	} {
		got := found(t, test.kind, map[string]string{test.file: test.text})
		if !slices.Equal(got, test.want) {
			t.Errorf("%s in %s:\n%s\ngot %q, want %q", test.kind, test.file, test.text, got, test.want)
		}
	}
}

// TestPythonFunctions measures functions in all places.
func TestPythonFunctions(t *testing.T) {
	const text = `
def short(): return 1
def f(a,
      b):
    def inner():
        return '''
        text
        '''

    # a comment
    return inner
    # behind it
class C:
    def g(self):
        if 1:
            pass

    def h(self): pass
x = lambda: 1
`
	got := found(t, "python-function", map[string]string{"a.py": text})
	want := []string{
		"a.py:14: g: 3", "a.py:18: h: 1", "a.py:2: short: 1", "a.py:3: f: 9", "a.py:5: inner: 4"}
	if !slices.Equal(got, want) {
		t.Errorf("functions of %s\ngot %q, want %q", text, got, want)
	}
}

// TestUnbound has uses and bindings of all kinds.
func TestUnbound(t *testing.T) {
	for text, want := range map[string]string{
		"import os\nos.x(y)\n":                                "y",
		"import a.b, c as d\na; b; c; d\n":                    "b c",
		"from m import (x,\n    y as z)\nx; y; z\n":           "y",
		"def f(a, b=c, *d, **e):\n    return a, b, d, e\nf\n": "c",
		"f = lambda a, b=2: a + b + c\n":                      "c",
		"g(a=1, b=a)\n":                                       "g a",
		"for i, (j, k) in x: i, j, k\n":                       "x",
		"[i for i in range(3) if i]\n":                        "",
		"a = b = c\n":                                         "c",
		"a, (b, c) = d\na; b; c\n":                            "d",
		"a.b = 1\nc[d] = 2\ne(f).g = 3\n":                     "a c d e f",
		"x = {'a': b}\n":                                      "b",
		"try:\n    pass\nexcept (A, OSError):\n    pass\nexcept ValueError as e: e\n": "A",
		"class C(D):\n    x = 1\n    def f(self): return C, self, x\n":                "D",
		"def f():\n    global n\n    n = 1\nn\n":                                      "",
		"if x == 1 and not y: pass\n":                                                 "x y",
		"s = 'name' % name\n":                                                         "name",
		"with a as b: b\n":                                                            "a",
		"x += 1\n":                                                                    "x",
		"print(len(zip))\n":                                                           "",
		"@deco\ndef f(): pass\n":                                                      "deco",
		"a = 1; b = a; c\n":                                                           "c",
		"x: T\nx\n":                                                                   "T",
		"class C:\n    x: List[T] = y\n    z: 'T'\n":                                  "List T y",
		"self.x: T = y\n":                                                             "self T y",
		"f(x)[a:b] = lambda y: y\n":                                                   "f x a b",
	} {
		var got []string
		for _, f := range found(t, "unbound", map[string]string{"a.py": text}) {
			_, name, _ := strings.Cut(f, ": ")
			got = append(got, name)
		}
		names := strings.Fields(want)
		slices.Sort(got)
		slices.Sort(names)
		if !slices.Equal(got, names) {
			t.Errorf("%q: got %q, want %q", text, got, names)
		}
	}
}

// TestPackages follows imports from the root package.
func TestPackages(t *testing.T) {
	got := found(t, "package", map[string]string{
		"a.go":              "package a\n\nimport (\n\t\"os\"\n\t_ \"" + module + "/internal/b\"\n)\n",
		"a_test.go":         "package a\n\nimport _ \"" + module + "/internal/test\"\n",
		"internal/b/b.go":   "package b\n\nimport _ \"" + module + "/internal/c\"\n",
		"internal/b/d.go":   "//go:build darwin\n\npackage b\n\nimport _ \"" + module + "/internal/d\"\n",
		"internal/c/c.go":   "package c\n",
		"internal/d/d.go":   "package d\n",
		"cmd/tool/main.go":  "package main\n\nimport _ \"" + module + "/internal/d\"\n",
		"internal/c/readme": "",
	})
	want := []string{".: is compiled", "internal/b: is compiled", "internal/c: is compiled"}
	if !slices.Equal(got, want) {
		t.Errorf("packages: got %q, want %q", got, want)
	}
}

// repository is a tree with commits.
type repository struct {
	t   *testing.T
	dir string
}

func newRepository(t *testing.T) *repository {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip(err)
	}
	r := &repository{t, t.TempDir()}
	r.git("init", "-q")
	return r
}

func (r *repository) git(args ...string) {
	r.t.Helper()
	args = append([]string{"-c", "user.name=a", "-c", "user.email=a@b",
		"-c", "commit.gpgsign=false"}, args...)
	if out, err := git(r.dir, args...); err != nil {
		r.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
}

func (r *repository) commit(subject string, files map[string]string) {
	r.t.Helper()
	write(r.t, r.dir, files)
	r.git("add", "-A")
	r.git("commit", "-q", "--allow-empty", "-m", subject)
}

// house runs the command in the repository.
func (r *repository) house(args ...string) (status int, stdout, stderr string) {
	var out, err bytes.Buffer
	status = run(append([]string{"-C", r.dir}, args...), &out, &err)
	return status, out.String(), err.String()
}

// TestRatchet allows old findings, names new ones with their places, and lowers limits only.
func TestRatchet(t *testing.T) {
	r := newRepository(t)
	limits := filepath.Join(r.dir, "limits.txt")
	old := "package a\n\n// " + long + " old\nvar a int\n"
	r.commit("a: begin", map[string]string{"a/a.go": old, "a.go": "package a\n"})
	if status, _, said := r.house("-lower", limits); status != 0 {
		t.Fatalf("make the limits: got status %d, want 0\n%s", status, said)
	}
	r.commit("a: limits", nil)
	if status, _, said := r.house("-check", limits); status != 0 {
		t.Errorf("check what was there: got status %d, want 0\n%s", status, said)
	}

	r.commit("a: move", map[string]string{"a/a.go": "package a\n",
		"a/b.go": "\npackage a\n\n// " + long + " old\nvar b int\n"})
	if status, _, said := r.house("-check", limits); status != 0 {
		t.Errorf("check what was moved: got status %d, want 0\n%s", status, said)
	}

	r.commit("a: "+long, map[string]string{"a/c.go": "package a\n\n// " + long + "\nvar c int\n",
		"b/b.go": "package b\n\n// b is what it is.\nfunc b() {\n\n\n}\n"})
	status, _, said := r.house("-check", limits)
	for _, want := range []string{"a/c.go:3: 104 columns", "b/b.go:3: b is what it is.",
		"b/b.go:4: b: 4", "104 characters: a: xxx"} {
		if !strings.Contains(said, want) {
			t.Errorf("check new findings: said %q, want %q in it", said, want)
		}
	}
	if status != 1 || strings.Contains(said, "old") {
		t.Errorf("check new findings: got status %d, want 1 and nothing old in:\n%s", status, said)
	}

	before, err := os.ReadFile(limits)
	if err != nil {
		t.Fatal(err)
	}
	r.house("-lower", limits)
	if after, err := os.ReadFile(limits); err != nil || string(after) != string(before) {
		t.Errorf("lower limits that are exceeded: got %s, %v, want no change of\n%s",
			after, err, before)
	}
	r.commit("a: mend", map[string]string{"a/b.go": "package a\n", "a/c.go": "package a\n"})
	r.house("-lower", limits)
	if after, err := os.ReadFile(limits); err != nil || strings.Contains(string(after), "wide") {
		t.Errorf("lower limits after an improvement: got %s, %v, want no wide lines", after, err)
	}
}

// TestLimitsAreRead refuses what is no limit.
func TestLimitsAreRead(t *testing.T) {
	for _, text := range []string{"a wide\n", "a wide=x\n", "a width=3\n", "# c\n* wide=1 form=\n"} {
		name := filepath.Join(tree(t, map[string]string{"l": text}), "l")
		if l, err := readLimits(name); err == nil || !strings.Contains(err.Error(), "want KIND=NUMBER") {
			t.Errorf("limits %q: got %v, %v, want an error that names the line", text, l, err)
		}
	}
}

// TestFigures prints a tree beside an earlier one, as a table and as JSON.
func TestFigures(t *testing.T) {
	r := newRepository(t)
	r.commit("a: begin", map[string]string{"a.go": "package a\n\nfunc f() {\n}\n"})
	r.git("tag", "v1")
	r.commit("a: more", map[string]string{
		"a.go": "package a\n\nfunc f() {\n\n}\n", "b.go": "package a\n"})
	status, table, said := r.house("-before", "v1")
	if status != 0 || !strings.Contains(table, "Go files without tests") {
		t.Fatalf("table: got status %d and %q, want 0 and figures\n%s", status, table, said)
	}
	for line, want := range map[string][]string{
		"Go files without tests":           {"1", "2"},
		"lines of the longest Go function": {"2", "3", "a.go:3:", "f:", "3"},
	} {
		for got := range strings.Lines(table) {
			if rest, ok := strings.CutPrefix(got, line); ok && !slices.Equal(strings.Fields(rest), want) {
				t.Errorf("table, %s: got %q, want %q", line, rest, want)
			}
		}
	}
	status, out, said := r.house("-json", "-before", "v1")
	var got map[string]map[string]any
	if err := json.Unmarshal([]byte(out), &got); err != nil || status != 0 {
		t.Fatalf("JSON: got status %d and %v, want 0 and none\n%s", status, err, said)
	}
	where := got["now"]["go-function_where"]
	if got["now"]["go_files"] != 2.0 || got["before"]["go_files"] != 1.0 || where != "a.go:3: f: 3" {
		t.Errorf("JSON: got %v, want 2 files now, 1 before, and the longest function's place", got)
	}
	status, _, said = r.house("-before", "nowhere")
	if status != 2 || !strings.Contains(said, "nowhere") {
		t.Errorf("unknown revision: got status %d and %q, want 2 and its name", status, said)
	}
}
