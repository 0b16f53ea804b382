package packages

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/internal/testpython"
)

// services is a package as clients of web services are: data in directories that are called like
// services, listed and opened by way of __file__, and modules of services imported by name.
var services = map[string]string{
	"plain.py": "import sys, types\n" +
		"moves = sys.modules['plain.moves'] = types.ModuleType('plain.moves')\n" +
		"moves.__path__ = []\n",
	"vend/__init__.py": `
import importlib, os, plain
try:
    import plain.moves.winreg
except ImportError:
    pass
def texts(*where):
    here = os.path.join(os.path.dirname(__file__), 'data', *where)
    for name in sorted(os.listdir(here)):
        if os.path.isfile(os.path.join(here, name)):
            yield open(os.path.join(here, name)).read()
def client(name):
    defaults = open(os.path.join(os.path.dirname(__file__), 'data', 'defaults.json')).read()
    importlib.import_module('vend.' + name)
    importlib.import_module('vend.%s.inject' % name)
    return len(defaults) + sum([len(t) for t in texts(name, '2006')])
`,
	"vend/s3/__init__.py": "", "vend/s3/inject.py": "import vend.s3.more", "vend/s3/more.py": "",
	"vend/ec2/__init__.py": "", "vend/ec2/inject.py": "",
	"vend/data/defaults.json": "{}", "vend/data/s3/2006/service.json": noise(300_000),
	"vend/data/s3/2006/waiters.json": "12345", "vend/data/ec2/2016/service.json": noise(300_000),
}

// settings is a framework: settings name what is imported.
var settings = map[string]string{
	"vend/__init__.py": "", "vend/core/__init__.py": "",
	"vend/core/manage.py": `
from importlib import import_module
def run(name):
    settings = import_module(name)
    import_module(settings.URLS)
    return len([import_module(app) for app in settings.APPS])
`,
	"vend/apps/__init__.py": "", "vend/apps/one/__init__.py": "import need",
	"vend/apps/two.py": "from vend.apps import one", "need/__init__.py": "",
	"vend-1.dist-info/METADATA":      "Name: vend\nRequires-Dist: need\n",
	"vend-1.dist-info/top_level.txt": "vend\n",
	"need-1.dist-info/METADATA":      "Name: need\n", "need-1.dist-info/top_level.txt": "need\n",
}

// catalogs is a package with files of a language in several directories.
var catalogs = map[string]string{
	"vend/__init__.py": `
import os
def load(language):
    here = os.path.dirname(__file__)
    places = [os.path.join(here, part, 'locale', language, 'LC', 'vend.mo')
              for part in sorted(os.listdir(here))]
    return ''.join([open(p).read() for p in places if os.path.exists(p)])
`,
}

func init() {
	for i := range 5 {
		for _, file := range []string{"de/LC/vend.mo", "de/LC/vend.po", "fr/LC/vend.mo"} {
			catalogs[fmt.Sprintf("vend/part%d/locale/%s", i, file)] = file[:1]
		}
	}
}

func noise(n int) string {
	r, text := rand.New(rand.NewPCG(1, 1)), make([]byte, n)
	for i := range text {
		text[i] = byte(' ' + r.IntN(90))
	}
	return string(text)
}

// TestTrips counts the round trips of calls that use packages for the first time.
func TestTrips(t *testing.T) {
	p, ok := testpython.Default()
	if !ok {
		t.Skip("no python3")
	}
	for _, tt := range []struct {
		what  string
		files map[string]string
		own   string // what app:use returns
		want  string
		trips int64
	}{
		// What it lacks; the list of files, with files and modules; the result.
		{"services", services, "import vend\ndef use():\n    return str(vend.client('s3'))", "300007", 3},
		// What it lacks; vend.core, with all that is named; the result.
		{"settings", settings, "def use():\n    from vend.core import manage\n" +
			"    return str(manage.run('site1.settings'))", "2", 3},
		// What it lacks; the list of files; the file of that name in all directories; the result.
		{"catalogs", catalogs, "import vend\ndef use():\n    return vend.load('de')", "ddddd", 4},
	} {
		t.Run(tt.what, func(t *testing.T) {
			c := nativeContext(t, site(t, tt.files), p, fstest.MapFS{"app.py": {Data: []byte(tt.own)},
				"site1/__init__.py": {}, "site1/urls.py": {Data: []byte("import vend")},
				"site1/settings.py": {Data: []byte("APPS = ['vend.apps.one', 'vend.apps.two']\n" +
					"URLS = 'site1.urls'")},
			}, mitogen.Options{Serve: []string{"site1"}})
			before := c.Stats()
			got, err := mitogen.Call[string](t.Context(), c, "app:use")
			if err != nil || got != tt.want {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
			s := c.Stats()
			if n := s.RoundTrips - before.RoundTrips; n > tt.trips {
				t.Errorf("got %d round trips, want at most %d", n, tt.trips)
			}
			if s.BytesDown-before.BytesDown > 400_000 {
				t.Errorf("%d bytes went down: those of another service, too", s.BytesDown-before.BytesDown)
			}
		})
	}
}

// site is a directory with packages.
func site(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
