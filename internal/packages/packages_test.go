package packages

import (
	"cmp"
	_ "embed"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/testpython"
)

var update = flag.Bool("update", false, "write docs/packages.md; with MITOGEN_SOAK=1")

const doc = "../../docs/packages.md"

// sample lists the packages that are tried without MITOGEN_SOAK=1: small packages of each kind.
var sample = []string{"attrs", "certifi", "requests", "six"}

// versions are the interpreters that packages are tried on, and the versions that they are
// installed for.
var versions = []struct{ interp, version string }{
	{"cpython2.7", "2.7"}, {"cpython3.6", "3.6"}, {"cpython3.9", "3.9"}, {"cpython3.13", "3.13"},
	{"pypy3.9", "3.9"},
}

// TestPackages imports and uses each package in a context whose interpreter lacks it, and all else
// that is installed there, and that can't see where it is on this machine.
func TestPackages(t *testing.T) {
	found := map[string]testpython.Interp{}
	for _, p := range testpython.Find() {
		found[p.Name()] = p
	}
	soak := os.Getenv("MITOGEN_SOAK") == "1"
	cells := map[string]string{}
	for _, u := range uses {
		if !soak && !slices.Contains(sample, u.name) {
			continue
		}
		for _, v := range versions {
			p, ok := found[v.interp]
			if !ok || pinned(u.name, v.version) == nil {
				continue
			}
			t.Run(u.name+"/"+v.interp, func(t *testing.T) {
				installer := p
				if cpython, ok := found["cpython"+v.version]; ok {
					installer = cpython
				}
				dir, err := install(u.name, v.version, installer.Path)
				if err != nil {
					t.Fatal(err)
				}
				cells[u.name+" "+v.interp] = try(t, u, v.version, dir, p)
			})
		}
	}
	if *update && soak {
		_, part, err := usedPart()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(doc, []byte(page(cells)+"\n"+part), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// try returns what is to be said about u: what the call cost.
func try(t *testing.T, u use, version, dir string, p testpython.Interp) string {
	var path modules.Path
	defer path.Close()
	if err := path.AddSite(dir); err != nil {
		t.Fatal(err)
	}
	var packages []fs.FS
	for _, e := range path.Entries {
		packages = append(packages, e.FS)
	}
	files := fstest.MapFS{"try_it.py": {Data: []byte(module(u.body))}}
	e, err := mitogen.New(mitogen.Options{Path: []fs.FS{files}, Packages: packages})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	c, err := e.Connect(t.Context(), "local",
		mitogen.ConnectOptions{Options: connect.Options{Python: []string{testpython.Blind(t,
			dir) + p.Path + " -S -s"}}})
	if err != nil {
		t.Fatal(err)
	}
	before := c.Stats()
	ok, err := mitogen.Call[bool](t.Context(), c, "try_it:use")
	if why := u.fails[version]; why != "" {
		if err == nil {
			t.Errorf("works, though it is said to fail: %s", why)
		}
		return "fails: " + why
	}
	if err != nil || !ok {
		t.Errorf("%s %s: got %v, %v; want true", u.name, version, ok, err)
	}
	s := c.Stats()
	return fmt.Sprintf("%s: %d, %d kB", released(u.name, version), s.RoundTrips-before.RoundTrips,
		(s.BytesDown-before.BytesDown+500)/1000)
}

// module makes a function of body, but for the imports that it begins with, which are the module's.
func module(body string) string {
	var head string
	for strings.HasPrefix(body, "import ") || strings.HasPrefix(body, "from ") {
		line, rest, _ := strings.Cut(body, "\n")
		head, body = head+line+"\n", rest
	}
	return head + "def use():\n    " + strings.ReplaceAll(body, "\n", "\n    ") + "\n"
}

// behaviour is the part of docs/packages.md besides the table.
//
//go:embed testdata/behaviour.md
var behaviour string

// page is docs/packages.md.
func page(cells map[string]string) string {
	var b strings.Builder
	b.WriteString(`# Packages

Packages of PyPI, installed on the engine's side only, imported and used in a connected local ` +
		`context whose interpreter lacks them and all that
they need. A cell has the version, the round trips of the call that imports and uses it, and ` +
		`what went down in kB; a dash where no release is for that Python.
What a package imports while it is used, and each file that it reads, is a round trip; all ` +
		`that is imported at first is one.
` + "`internal/packages`" + ` has what is done with each. To repeat it:

    MITOGEN_SOAK=1 go test ./internal/packages -update

` + behaviour + `
| package |`)
	for _, v := range versions {
		fmt.Fprintf(&b, " %s |", v.interp)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(versions)) + "\n")
	for _, u := range uses {
		fmt.Fprintf(&b, "| %s |", u.name)
		for _, v := range versions {
			fmt.Fprintf(&b, " %s |", cmp.Or(cells[u.name+" "+v.interp], "–"))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// The document has all packages.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), behaviour) {
		t.Error("docs/packages.md lacks testdata/behaviour.md: run with -update")
	}
	for _, u := range uses {
		if !strings.Contains(string(text), "\n| "+u.name+" |") {
			t.Errorf("docs/packages.md lacks %s: run with -update", u.name)
		}
	}
}

// released is the version of a package itself, or of the first distribution whose name begins like
// it.
func released(name, version string) string {
	plain := strings.NewReplacer("-", "", "_", "", ".", "")
	like := ""
	for _, pin := range pinned(name, version) {
		dist, v, _ := strings.Cut(strings.ToLower(pin), "==")
		switch d, n := plain.Replace(dist), plain.Replace(name); {
		case d == n:
			return v
		case like == "" && strings.HasPrefix(d, n):
			like = v
		}
	}
	return like
}
