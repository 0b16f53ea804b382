package pyfront

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/testpython"
)

// guides returns the pages of the package's documentation that have examples.
func guides(t *testing.T) (pages []string) {
	t.Helper()
	for _, pattern := range []string{"*.md", "guides/*.md"} {
		found, err := filepath.Glob(filepath.Join("..", "..", "docs", "python", pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("pages %s: got %q, %v, want some", pattern, found, err)
		}
		pages = append(pages, found...)
	}
	return pages
}

// TestGuides runs the examples of the documentation, and compares what they print with what stands
// there: of some pages, or of all where all is asked for.
func TestGuides(t *testing.T) {
	pages := guides(t)
	if rng := testpython.Draw(t.Name()); !testpython.All() {
		rng.Shuffle(len(pages), func(i, j int) { pages[i], pages[j] = pages[j], pages[i] })
		pages = pages[:3]
	}
	p := pairs(t)[0][0]
	for _, page := range pages {
		name, err := filepath.Abs(page)
		if err != nil {
			t.Fatal(err)
		}
		out, err := python(t, p.Path, "", "guides.py", name)
		if err != nil || strings.Contains(string(out), "\n0 examples") {
			t.Errorf("%s, %s: got %v, want examples that print what the page says\n%s",
				filepath.Base(page), p.Name(), err, out)
		}
	}
}

// TestDocumentation has mkdocs build the documentation. A warning is an error.
func TestDocumentation(t *testing.T) {
	if !testpython.All() {
		t.Skip("long: make docs-python")
	}
	mkdocs := filepath.Join(tools(t, "docs"), "mkdocs")
	out := os.Getenv("MITOGEN_DOCS")
	if out == "" {
		out = t.TempDir()
	}
	config := filepath.Join("..", "..", "docs", "mkdocs.yml")
	build := exec.Command(mkdocs, "build", "-q", "--strict", "-f", config, "-d", out)
	said, err := build.CombinedOutput()
	if err != nil || len(said) > 0 {
		t.Errorf("mkdocs build: got %v, want no warning\n%s", err, said)
	}
	page, err := os.ReadFile(filepath.Join(out, "reference", "context.html"))
	if err != nil || !strings.Contains(string(page), "mitogo.Context.call") {
		t.Errorf("the reference: got %v, want Context.call in it", err)
	}
}
