package modules

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/testpython"
)

// imported prints the modules that importing Django's models brings in, but the standard library's.
const imported = `
import sys
import django.db.models
for name, m in sorted(sys.modules.items()):
    if 'site-packages' in (getattr(m, '__file__', None) or ''):
        print(name)
`

// django returns a virtual environment with Django, and the modules to be found in it.
func django(b *testing.B) (venv string, names []string) {
	b.Helper()
	found := testpython.Find()
	if len(found) == 0 {
		b.Skip("no Python")
	}
	python := found[len(found)-1]
	for _, p := range found {
		if p.Impl == "cpython" {
			python = p
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		b.Skip(err)
	}
	venv = filepath.Join(cache, "mitogen-go", "modules", python.Name())
	if _, err := os.Stat(filepath.Join(venv, "done")); err != nil {
		for _, command := range [][]string{
			{python.Path, "-m", "venv", venv},
			{filepath.Join(venv, "bin", "pip"), "install", "-q", "Django", "requests"},
			{"touch", filepath.Join(venv, "done")},
		} {
			if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
				b.Skipf("%v: %v\n%s", command, err, out)
			}
		}
	}
	out, err := exec.Command(filepath.Join(venv, "bin", "python"), "-c", imported).Output()
	if err != nil {
		b.Fatal(err)
	}
	return venv, strings.Fields(string(out))
}

func openVenv(b *testing.B, venv string) *Path {
	b.Helper()
	dirs, err := SitePackages(venv)
	if err != nil {
		b.Fatal(err)
	}
	p := new(Path)
	for _, d := range dirs {
		if err := p.AddSite(d); err != nil {
			b.Fatal(err)
		}
	}
	return p
}

func findAll(b *testing.B, f *Finder, names []string) {
	p := f.Pass()
	for _, name := range names {
		if m := p.Find(name); m.Letter == Missing {
			b.Fatalf("find %s: got none (%s), want a module", name, m.Reason)
		}
	}
}

// Find, scan and minify the modules of django.db.models.
func BenchmarkDjangoCold(b *testing.B) {
	venv, names := django(b)
	for b.Loop() {
		p := openVenv(b, venv)
		findAll(b, New(p.Entries, none, Options{}), names)
		p.Close()
	}
	b.ReportMetric(float64(len(names)), "modules")
}

// The same for the next context: is all as it was?
func BenchmarkDjangoWarm(b *testing.B) {
	venv, names := django(b)
	p := openVenv(b, venv)
	defer p.Close()
	f := New(p.Entries, none, Options{})
	for b.Loop() {
		findAll(b, f, names)
	}
}

// Names that are nowhere, as those of the standard library are here.
func BenchmarkNowhere(b *testing.B) {
	venv, names := django(b)
	p := openVenv(b, venv)
	defer p.Close()
	f := New(p.Entries, none, Options{})
	findAll(b, f, names)
	for b.Loop() {
		for _, name := range []string{"os", "json.decoder", "django.nosuch", "django.db.models.Model"} {
			if m := f.Find(name); m.Letter != Missing {
				b.Fatal(m.Path)
			}
		}
	}
}
