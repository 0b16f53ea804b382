package forward

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// holding has files of a third-party package, and a program that uses it.
func holding() (*Forwarder, *script) {
	large := strings.Repeat("x", 3000)
	var noise strings.Builder
	for i := range 600 {
		fmt.Fprintf(&noise, "%d", i*i*7919)
	}
	return forwarder(tree("app.py: import vend\nx = vend.__file__", "data.txt: DATA"),
		tree("vend/__init__.py: ", "vend/data.txt: DATA", "vend/noise.txt: "+noise.String(),
			"vend/sub/deep.txt: "+large, "alien/__init__.py: ", "alien/data.txt: DATA"))
}

// started has ctx call app where it lacks vend.
func started(f *Forwarder, ctx, parent wire.ContextID) {
	f.Add(ctx, parent)
	call(f, ctx, "app")
	f.lacks(ctx, []string{"vend"})
}

// asks asks for some files while app runs, and returns those that were answered at once.
func asks(t *testing.T, f *Forwarder, ctx wire.ContextID, questions ...string) (direct []string) {
	t.Helper()
	for _, q := range questions {
		file, err := f.File(ctx, linux, "app", q)
		if err != nil {
			t.Errorf("file %q: got error %v, want none", q, err)
		}
		if len(file.Data) > 0 {
			direct = append(direct, q)
		}
	}
	return direct
}

// files returns the files in the bundles that a context was sent.
func files(f *Forwarder, ctx wire.ContextID) (names []string) {
	for _, b := range f.contexts[ctx].grant.bundles {
		b.Each(func(name string, size int, file bool) {
			if file {
				names = append(names, name)
			}
		})
	}
	slices.Sort(names)
	return names
}

// Files of third-party packages that a program had to ask for go with its next call, where the
// package goes.
func TestLearnedFiles(t *testing.T) {
	f, _ := holding()
	started(f, 1, 0)
	asks(t, f, 1, "rvend\x00data.txt", "rvend\x00sub/deep.txt", "svend")
	if got := files(f, 1); got != nil {
		t.Errorf("the first call: got files %q, want none", got)
	}
	f.lore.learn("app", "alien/data.txt", false) // as if another program had
	f.lore.learn("app", "vend/../alien/data.txt", false)
	started(f, 2, 0)
	want := []string{"vend/", "vend/data.txt", "vend/sub/deep.txt"}
	if got := files(f, 2); !slices.Equal(got, want) {
		t.Errorf("the next call: got files %q, want %q", got, want)
	}
	f.Add(3, 0)
	call(f, 3, "app")
	f.lacks(3, nil)
	if got := files(f, 3); got != nil {
		t.Errorf("a target that has the package: got files %q, want none", got)
	}
	for _, name := range f.lore.of("app") {
		if strings.Contains(name, "..") {
			t.Errorf("%q was learned", name)
		}
	}
}

// Behind a hop a file of a third-party package crosses the first link once.
func TestFilesAreKeptAtHops(t *testing.T) {
	f, s := holding()
	f.Add(1, 0)
	started(f, 2, 1)
	started(f, 3, 1)
	s.lines = nil
	direct := asks(t, f, 2, "rvend\x00data.txt", "rvend\x00noise.txt")
	if want := []string{"rvend\x00data.txt"}; !slices.Equal(direct, want) {
		t.Errorf("answered at once: %q, want only what is small: %q", direct, want)
	}
	s.expect(t, "the first context", "coming 2 1/0", "send 2")
	asks(t, f, 3, "rvend\x00noise.txt")
	s.expect(t, "the second context", "coming 3 1/0", "forward 3 at 1")
	if direct := asks(t, f, 3, "rvend\x00noise.txt"); len(direct) != 1 {
		t.Error("what was lost on the way isn't answered at once when it is asked for again")
	}
	started(f, 4, 0)
	if direct := asks(t, f, 4, "rvend\x00data.txt"); len(direct) != 1 {
		t.Error("without a hop an answer goes in a bundle")
	}
}

// dynamic is a program that imports by names in data.
func dynamic() (*Forwarder, *script) {
	large := "x = '" + strings.Repeat("x", maxFirst*3/4) + "'"
	return forwarder(tree("app.py: import vend\n",
		"settings.py: APPS = ['vend.apps.one', 'vend.hook.Hook', 'nothing.here']\n"),
		tree("vend/__init__.py: ", "vend/apps/__init__.py: ", "vend/apps/one/__init__.py: ",
			"vend/apps/one/models.py: ", "vend/apps/one/steps/__init__.py: ",
			"vend/apps/one/steps/first.py: ", "vend/apps/one/tests/__init__.py: ",
			"vend/apps/one/tests/t.py: ", "vend/apps/two/__init__.py: ", "vend/hook.py: ",
			"vend/plug/__init__.py: ", "vend/plug/a.py: ", "vend/plug/b.py: ", "vend/plug/c.py: ",
			"vend/plug/huge.py: x = '"+strings.Repeat("x", maxSecond)+"'", "vend/other.py: ",
			"vend/big/__init__.py: ", "vend/big/a.py: "+large, "vend/big/b.py: "+large,
			"vend/big/c.py: "+large, "vend/big/d.py: "+large,
			"nothing/__init__.py: ", "nothing/here.py: ",
			"Vend-1.dist-info/METADATA: Name: vend", "Vend-1.dist-info/top_level.txt: vend",
			"Vend-1.dist-info/entry_points.txt: [vend.plugins]\none = vend.points.one:f\n"+
				"two = vend.more.two\n\n[other]\nx = vend.more.x:y\n",
			"vend/points/__init__.py: ", "vend/points/one.py: ", "vend/more/__init__.py: ",
			"vend/more/two.py: ", "vend/more/x.py: "))
}

// modulesOf returns the modules that a context was sent.
func modulesOf(f *Forwarder, ctx wire.ContextID) (names []string) {
	for _, b := range f.contexts[ctx].grant.bundles {
		names = append(names, b.Modules()...)
	}
	slices.Sort(names)
	return names
}

// What a list in the user's own code names goes along with a question, and so does what lies beside
// the module and the other plugins, as far as there is room. The next call has all of it.
func TestLikelyModules(t *testing.T) {
	f, _ := dynamic()
	f.Add(1, 0)
	call(f, 1, "app")
	f.lacks(1, []string{"vend"})
	asked := func(name string, want ...string) {
		t.Helper()
		before := modulesOf(f, 1)
		if _, given := f.Asked(1, linux, "app", name); !given {
			t.Fatalf("%s was refused", name)
		}
		got := slices.DeleteFunc(modulesOf(f, 1),
			func(n string) bool { return slices.Contains(before, n) })
		if !slices.Equal(got, want) {
			t.Errorf("a question for %s brought %q, want %q", name, got, want)
		}
	}
	asked("vend.plug.a", "vend.plug", "vend.plug.a", "vend.plug.b", "vend.plug.c")
	asked("vend.big.a", "vend.big", "vend.big.a", "vend.big.b")
	asked("vend.big.c", "vend.big.c", "vend.big.d")
	f.Grant(1, linux, f.Need(linux, Program{Roots: []string{"settings"}}))
	asked("settings", "settings", "vend.apps", "vend.apps.one", "vend.apps.one.models",
		"vend.apps.one.steps", "vend.apps.one.steps.first", "vend.hook")
	asked("vend.other", "vend.other")
	if _, err := f.File(1, linux, "app", "e"); err != nil {
		t.Fatal(err)
	}
	asked("vend.points.one", "vend.more", "vend.more.two", "vend.points", "vend.points.one")
	before := slices.DeleteFunc(modulesOf(f, 1), // which only the other program may have
		func(name string) bool { return name == "settings" })
	f.Add(2, 0)
	call(f, 2, "app")
	f.lacks(2, []string{"vend"})
	if got := modulesOf(f, 2); !slices.Equal(got, before) {
		t.Errorf("the next call: got %q, want %q", got, before)
	}
}
