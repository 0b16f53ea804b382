package modules

import (
	"archive/zip"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestProgramDirs(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"lib", "vendor", "src"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	beside := "import sys, os\nsys.path.append(os.path.join(os.path.dirname(__file__), 'vendor'))\n"
	if err := os.WriteFile(filepath.Join(dir, "context.py"), []byte(beside), 0o644); err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := zip.NewWriter(&archive).Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "lib/a.whl"), archive.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	for source, want := range map[string][]string{
		"sys.path.insert(0, os.path.join(os.path.dirname(__file__), 'lib', 'a.whl'))": {"lib/a.whl", "."},
		"sys.path.append(str(pathlib.Path(__file__).parent / 'lib' / 'a.whl'))":       {".", "lib/a.whl"},
		"print(1)": {"."},
		"sys.path.insert(0, os.path.join(os.path.dirname(__file__), 'lib'))": {"lib",
			"."},
		"import context\nsys.path.append(os.path.dirname(__file__) + '/src')": {".",
			"src", "vendor"},
		"sys.path.insert(0, os.path.join(os.path.dirname(__file__), 'absent'))\nx = = 1":          {"."},
		"sys.path.insert(0, os.path.join(os.path.dirname(__file__), 'context.py'))":               {"."},
		"sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))\nsys.path.append('/etc')": {"."},
	} {
		var got []string
		for _, place := range ProgramDirs(dir, []byte(source)) {
			name, err := filepath.Rel(dir, place)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("directories of %q: got %q, want %q", source, got, want)
		}
	}
}
