package forward

import (
	"slices"
	"strings"
	"testing"
)

// With the outline of a third-party package go files that its code, or the user's own, is likely
// to read, and modules that are called like a literal of the user's own; nothing of other packages,
// and nothing with code.
func TestAlong(t *testing.T) {
	f, _ := forwarder(tree("app.py: import vend, own\n"+
		"use = vend.__file__, 's3', 'themes', 'plug', 'mixed'",
		"own/__init__.py: x = __file__, 'mine.json'", "own/mine.json: {}"),
		tree("vend/__init__.py: x = 'defaults.json', \"schema\", 'huge', 'many.txt', '/deep.ini'",
			"vend/s3/a.json: 1", "vend/data/s3/2006/b.json: 2", "vend/s4/c.json: 3",
			"vend/one/themes/x: 1", "vend/two/themes/x: 1", "vend/three/themes/x: 1",
			"vend/mixed/__init__.py: ", "vend/mixed/data: 1", "vend/plug/__init__.py: ", "vend/plug/in.py: ",
			"vend/defaults.json: {}", "vend/etc/schema.xml: <a/>",
			"vend/etc/deep.ini: x", "vend/unsaid.txt: x",
			"vend/huge: "+strings.Repeat("x", maxSmall+1),
			"vend/many.txt: 1", "vend/a/many.txt: 1", "vend/b/many.txt: 1",
			"alien/__init__.py: x = 'defaults.json'", "alien/defaults.json: {}", "alien/s3/d.json: 4"))
	started(f, 1, 0)
	asks(t, f, 1, "svend", "svend", "sown")
	if _, err := f.File(1, linux, "app", "salien"); err == nil {
		t.Error("the outline of a package that wasn't sent was given")
	}
	want := []string{"vend/data/s3/2006/b.json", "vend/defaults.json", "vend/etc/deep.ini",
		"vend/etc/schema.xml", "vend/s3/a.json"}
	if got := files(f, 1); !slices.Equal(got, want) {
		t.Errorf("got files\n%q, want\n%q", got, want)
	}
	want = []string{"vend", "vend.mixed", "vend.plug", "vend.plug.in"}
	got := slices.DeleteFunc(modulesOf(f, 1), func(n string) bool {
		return !strings.HasPrefix(n, "vend") || strings.Contains(n, "/")
	})
	if !slices.Equal(got, want) {
		t.Errorf("got modules\n%q, want\n%q", got, want)
	}
	f.Add(2, 0)
	call(f, 2, "app")
	f.lacks(2, nil)
	if got := files(f, 2); got != nil {
		t.Errorf("a target that has the package: got files %q, want none", got)
	}
}
