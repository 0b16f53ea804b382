package closure

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/pysource"
)

// fake is a Source made of text: names with the Python text of each. A name that begins with + is
// the user's own. A name that ends in / is a package, in // a namespace package, and a name with /
// inside is a file. The text -reason is an extension module's.
type fake map[string]*modules.Module

func newFake(t testing.TB, sources map[string]string) fake {
	f := fake{}
	for name, text := range sources {
		m := &modules.Module{Letter: modules.Plain, Source: []byte(text), Code: []byte(text),
			Key: sha256.Sum256([]byte(text)), Scanned: true}
		name, m.Own = strings.CutPrefix(name, "+")
		if trimmed, ok := strings.CutSuffix(name, "//"); ok {
			name, m.Letter = trimmed, modules.Namespace
		} else if trimmed, ok := strings.CutSuffix(name, "/"); ok {
			name, m.Letter = trimmed, modules.Package
		} else if strings.Contains(name, "/") {
			m.Letter, m.Size = modules.Data, len(text)
		} else if reason, ok := strings.CutPrefix(text, "-"); ok {
			m.Letter, m.Reason, m.Source = modules.Missing, reason, nil
		}
		var err error
		if m.Letter == modules.Data {
			m.Name = name
			f[name] = m
			continue
		}
		if m.Info, err = pysource.Scan(m.Source); err != nil {
			t.Fatalf("scan %s: %v", name, err)
		}
		m.Name = name
		f[name] = m
	}
	return f
}

func (f fake) Find(name string) *modules.Module { return f[name] }

// text shows groups in one line: members joined by +, negative answers behind a minus sign.
func text(groups []Group) string {
	var out []string
	for _, g := range groups {
		s := ""
		for _, m := range g.Members {
			switch {
			case m.Letter == modules.Missing:
				s += "-" + m.Name
			case s != "":
				s += "+" + m.Name
			default:
				s = m.Name
			}
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

var (
	python2 = pysource.Target{Version: [3]int{2, 7, 18}, Implementation: "cpython", Platform: "linux2",
		OSName: "posix"}
	python3 = pysource.Target{Version: [3]int{3, 11, 7}, Implementation: "cpython", Platform: "linux",
		OSName: "posix"}
)

func TestOf(t *testing.T) {
	for _, c := range []struct {
		name    string
		sources map[string]string
		t       pysource.Target
		want    string // roots: main
		foreign string
	}{
		{"dependencies first", map[string]string{"main": "import b, a", "a": "import c",
			"b": "import os.path", "c": ""},
			python3, "c a b main", "a b c main"},
		{"packages before members", map[string]string{"main": "import p.q.r", "p/": "", "p.q/": "",
			"p.q.r": ""},
			python3, "p p.q p.q.r main", "main p"},
		{"cycle", map[string]string{"main": "import a", "a": "import b", "b": "import c\nimport a",
			"c": ""},
			python3, "c a+b main", "a b c main"},
		{"package that imports its member",
			map[string]string{"main": "import p", "p/": "from . import q", "p.q": ""},
			python3, "p+p.q main", "main p"},
		{"member or attribute", map[string]string{"main": "from p import q, r", "p/": "r = 1", "p.q": ""},
			python3, "p p.q main", "main p"},
		{"neither", map[string]string{"main": "from p import q", "p/": ""}, python3, "p main-p.q",
			"main p"},
		{"a star may bind it", map[string]string{"main": "from p import q", "p/": "from os import *"},
			python3, "p main", "main p"},
		{"optional member", map[string]string{"main": "try:\n from p import q\nexcept ImportError: pass",
			"p/": "q = None"},
			python3, "p main-p.q", "main p"},
		{"star", map[string]string{"main": "from p import *", "p/": "__all__ = ['q']", "p.q": "",
			"p.r": ""},
			python3, "p p.q main", "main p"},
		{"levels", map[string]string{"main": "import p.q.r", "p/": "", "p.q/": "",
			"p.q.r": "from .. import s\nfrom . import t\nfrom .... import u",
			"p.s":   "", "p.q.t": ""}, python3, "p p.q p.q.t p.s p.q.r main", "main p"},
		{"later", map[string]string{"main": "def f():\n import a\nif __name__ == '__main__':\n import b",
			"a": "", "b": ""},
			python3, "main", "main"},
		{"other versions", map[string]string{"main": "import sys\nif sys.version_info < (3,):\n import " +
			"a\nelse:\n import b", "a": "", "b": ""},
			python3, "b main", "b main"},
		{"handler not needed", map[string]string{"main": "try:\n import a\nexcept ImportError:\n" +
			" import b\nelse:\n import c",
			"a": "", "b": "", "c": ""}, python3, "a c main", "a c main"},
		{"handler needed", map[string]string{"main": "try:\n import a\nexcept ImportError:\n import b\n" +
			"else:\n import c",
			"b": "", "c": ""}, python3, "b c main-a", "b c main"},
		{"what is tried can't be imported",
			map[string]string{"main": "try:\n import a\nexcept ImportError:\n import b",
				"a": "import x", "x": "-x.so is an extension module", "b": ""}, python3, "a-x b main",
			"a b main"},
		{"standard library tried", map[string]string{"main": "try:\n import json\nexcept ImportError:\n" +
			" import simplejson",
			"simplejson": ""}, python3, "main", "main"},
		{"submodule that came later",
			map[string]string{"main": "try:\n from importlib import metadata\nexcept ImportError:\n" +
				" import importlib_metadata",
				"importlib_metadata": ""}, pysource.Target{Version: [3]int{3, 7, 0}}, "importlib_metadata main",
			"importlib_metadata main"},
		{"backport", map[string]string{"main": "import dataclasses", "dataclasses": ""}, python3, "main",
			"main"},
		{"backport needed", map[string]string{"main": "import dataclasses", "dataclasses": ""},
			pysource.Target{Version: [3]int{3, 6, 9}},
			"dataclasses main", "dataclasses main"},
		{"backport for unknown versions",
			map[string]string{"main": "import dataclasses, json", "dataclasses": "", "json": ""},
			pysource.Target{}, "dataclasses main", "dataclasses main"},
		{"time zones that are here",
			map[string]string{"main": "import zoneinfo", "tzdata/": "", "tzdata.zoneinfo/": ""}, python3,
			"tzdata tzdata.zoneinfo main", "main tzdata"},
		{"time zones that aren't", map[string]string{"main": "from zoneinfo import ZoneInfo"}, python3,
			"main-tzdata", "main"},
		{"files that are read", map[string]string{"main": "import p",
			"p/": "from importlib.resources import files, as_file\nimport pkgutil\n" +
				"def f():\n return as_file(files('p').joinpath(\"a.txt\")), pkgutil.get_data('p', " +
				"'b/c.txt'), files('p') / 'd', files('q').joinpath('e'), get_data(p, 'f')",
			"p/a.txt": "A", "p/b/c.txt": "", "p/d": "", "q/": "", "q/e": "", "p/f": ""}, python3,
			"p/a.txt p/b/c.txt p/d p main", "main p"},
		{"files that are too large",
			map[string]string{"main": "import p", "p/": "import pkgutil\nx = pkgutil.get_data('p', 'a')",
				"p/a": strings.Repeat("# \n", maxRead)},
			python3, "p main", "main p"},
		{"Windows", map[string]string{"main": "try:\n import winreg\nexcept ImportError: pass"}, python3,
			"main-winreg", "main"},
		{"namespace", map[string]string{"main": "import n.a.x, n.b", "n//": "", "n.a/": "", "n.a.x": "",
			"n.b": ""},
			python3, "n n.a n.a.x n.b main", "main n.a n.b"},
		{"namespace itself", map[string]string{"main": "import n", "n//": ""}, python3, "n main",
			"main n"},
		{"implicitly relative", map[string]string{"main": "import p.q", "p/": "", "p.q": "import os, r",
			"p.r": "", "r": ""},
			python2, "p p.r p.q-p.os main", "main p"},
		{"absolute", map[string]string{"main": "import p.q", "p/": "",
			"p.q": "from __future__ import absolute_import\nimport r", "p.r": "", "r": ""},
			python2, "p r p.q main", "main p r"},
		{"perhaps implicitly relative",
			map[string]string{"main": "import p.q", "p/": "", "p.q": "import r", "p.r": "", "r": ""},
			pysource.Target{}, "p p.r r p.q main", "main p r"},
		{"a module with submodules",
			map[string]string{"main": "from six.moves import urllib", "six": "__path__ = []"},
			python3, "six main-six.moves", "main six"},
		{"a module without", map[string]string{"main": "import a.b", "a": ""}, python3, "a main",
			"a main"},
	} {
		got := Of(newFake(t, c.sources), c.t, []string{"main"})
		if s := text(got.All()); s != c.want {
			t.Errorf("%s: got %s, want %s", c.name, s, c.want)
		}
		if s := strings.Join(got.Foreign, " "); s != c.foreign {
			t.Errorf("%s: foreign: got %s, want %s", c.name, s, c.foreign)
		}
	}
}

func TestLacking(t *testing.T) {
	src := newFake(t, map[string]string{
		"+main": "import p, q", "+own": "", "p/": "import r, s", "q/": "import s, own", "r": "",
		"s/": "try:\n import s.fast\nexcept ImportError: pass\ntry:\n import nowhere\nexcept " +
			"ImportError: pass",
	})
	c := Of(src, python3, []string{"main"})
	for _, test := range []struct{ has, want string }{
		{"", "r s-s.fast p q"},
		{"p", "s-s.fast q"},
		{"p q", ""},
		{"s", "r p q"},
	} {
		got := text(c.Lacking(func(name string) bool {
			return slices.Contains(strings.Fields(test.has), name)
		}))
		if got != test.want {
			t.Errorf("target has %s: got %s, want %s", test.has, got, test.want)
		}
	}
	if got := text(c.Own()); got != "own main -nowhere" {
		t.Errorf("own: got %s", got)
	}
}

// TestCanonical asks for the same modules from several roots.
func TestCanonical(t *testing.T) {
	src := newFake(t, map[string]string{"a": "import c, b", "b": "import d", "c": "import d, e",
		"d": "", "e": "import c"})
	want := text(Of(src, python3, []string{"a"}).All())
	for _, roots := range [][]string{{"e", "a"}, {"d", "b", "a"}, {"c", "a", "b"}} {
		if got := text(Of(src, python3, roots).All()); got != want {
			t.Errorf("from %v: got %s, want %s", roots, got, want)
		}
	}
}

func TestFresh(t *testing.T) {
	sources := map[string]string{"a": "from p import q\ntry:\n import x\nexcept ImportError: pass",
		"p/": "q = 1"}
	c := Of(newFake(t, sources), python3, []string{"a"})
	if !c.Fresh(newFake(t, sources)) {
		t.Error("nothing changed: not fresh")
	}
	for _, name := range []string{"a", "p/", "x", "p.q"} {
		changed := map[string]string{name: "changed = 1"}
		for n, s := range sources {
			if n != name {
				changed[n] = s
			}
		}
		if c.Fresh(newFake(t, changed)) {
			t.Errorf("%s changed: still fresh", name)
		}
	}
}

// TestNeeds checks that Needs point to earlier groups that hold what is imported.
func TestNeeds(t *testing.T) {
	c := Of(newFake(t, map[string]string{"a": "import b, c", "b": "import c", "c": "import b, d",
		"d": ""}), python3, []string{"a"})
	got := ""
	for _, g := range c.All() {
		got += fmt.Sprint(g.Needs)
	}
	if want := "[][0][1]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
