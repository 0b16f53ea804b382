package modules

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

// FuzzSite checks that whatever stands in a .pth file, and in what setuptools makes for editable
// installs, adds nothing but what is there.
func FuzzSite(f *testing.F) {
	f.Add("lib\n# x\nimport os; os.system('x')\n../out\n",
		"MAPPING: dict[str, str] = {'a': '/x/a', \"b.c\": 'd'}\n")
	f.Add("\ufefflib\x00\nimport __editable___a_finder; __editable___a_finder.install()\n",
		"MAPPING = {'..': 'lib', 'a\\x41': 'lib'}")
	f.Add("lib/", "MAPPING = {'a'")
	f.Fuzz(func(t *testing.T, pth, finder string) {
		parseMapping(finder)
		if strings.ContainsAny(pth+finder, "/~") {
			return // leads to this machine's files
		}
		dir := t.TempDir()
		os.Mkdir(filepath.Join(dir, "lib"), 0o700)
		os.WriteFile(filepath.Join(dir, "a.pth"), []byte(pth), 0o600)
		os.WriteFile(filepath.Join(dir, "b.pth"), []byte("import __editable___a_finder\n"), 0o600)
		os.WriteFile(filepath.Join(dir, "__editable___a_finder.py"), []byte(finder), 0o600)
		var p Path
		defer p.Close()
		if err := p.AddSite(dir); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzMetadata checks that no list of a distribution's files, and no question about files, has more
// served than what belongs to the package, and that all questions have an answer.
func FuzzMetadata(f *testing.F) {
	f.Add("a/__init__.py,sha256=x,1\n", "a\n", "a", "x.txt")
	f.Add("../up.py,,\n,,,\n", "..\n\x00", "..", "up.txt")
	f.Add("", "b", "a.b", "../../up.txt")
	f.Add("secret.py", "secret", "A_x-1.dist-info", "RECORD")
	f.Fuzz(func(t *testing.T, record, tops, pkg, name string) {
		fsys := fstest.MapFS{}
		for file, text := range map[string]string{"a/__init__.py": "", "a/x.txt": "x", "up.txt": "secret",
			".env": "secret", "a/.env": "x",
			"A_x-1.dist-info/RECORD": record, "A_x-1.dist-info/METADATA": "x",
			"b-2.egg-info/top_level.txt": tops, "b-2.egg-info/PKG-INFO": "x"} {
			fsys[file] = &fstest.MapFile{Data: []byte(text), Mode: 0o644}
		}
		for _, o := range []Options{{}, {Allow: []string{"a"}}, {Deny: []string{"a"}}} {
			finder := New([]Entry{{FS: fsys}}, func(string) ([]byte, bool) { return nil, false }, o)
			finder.List(all{}, pkg, name)
			finder.Distributions(all{})
			finder.OfDistributions(all{}, name)
			finder.Outline(all{}, pkg)
			rest, size, err := finder.File(all{}, pkg, name)
			file, _ := inflated(t, rest, size, err)
			rest, size, err = finder.Metadata(all{}, pkg, name)
			text, _ := inflated(t, rest, size, err)
			if file == "secret" || text == "secret" {
				t.Fatalf("package %q, file %q: what is outside of the package was served", pkg, name)
			}
		}
	})
}
