package deps

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// design is the document whose picture and references this file holds to the code.
const design = "docs/design.md"

// TestDesign demands that every package is in the picture of the layers, once, and above all
// packages that it imports.
func TestDesign(t *testing.T) {
	allowed, _ := parseGraph(t)
	row, rows := pictured(t, allowed)
	for pkg, imports := range allowed {
		if row[pkg] == 0 {
			t.Errorf("%s: package %s is not in the picture of the layers", design, pkg)
		}
		for _, imp := range imports {
			if row[imp] <= row[pkg] {
				t.Errorf("%s: %s is in row %d and %s, which it imports, in row %d; want it below",
					design, pkg, row[pkg], imp, row[imp])
			}
		}
	}
	if rows < 10 {
		t.Errorf("%s: got %d rows in the picture, want at least 10", design, rows)
	}
}

// pictured returns the row of each package, from 1, and the number of rows. A line that begins with
// a blank goes on with the row before it.
func pictured(t *testing.T, known map[string][]string) (row map[string]int, rows int) {
	t.Helper()
	text := readDesign(t)
	_, section, _ := strings.Cut(text, "\n## 2. Layers\n")
	_, picture, _ := strings.Cut(section, "\n```\n")
	picture, _, ok := strings.Cut(picture, "\n```\n")
	if !ok {
		t.Fatalf("%s: no picture in the section on layers", design)
	}
	row = map[string]int{}
	for line := range strings.Lines(picture) {
		words := strings.Fields(line)
		if !strings.HasPrefix(line, " ") {
			rows++
		}
		for _, word := range words {
			_, is := known[word]
			switch {
			case row[word] > 0:
				t.Errorf("%s: %s is in the picture twice", design, word)
			case is:
				row[word] = rows
			case strings.Contains(word, "/"):
				t.Errorf("%s: %s is in the picture, and is no package of the graph", design, word)
			}
		}
	}
	return row, rows
}

// reference matches a file and a function, method or type in it.
var reference = regexp.MustCompile("`([a-zA-Z][\\w/.-]*\\.(?:go|py)):(\\w+)`")

// TestDesignReferences demands that what the document refers to exists.
func TestDesignReferences(t *testing.T) {
	all := reference.FindAllStringSubmatch(readDesign(t), -1)
	for _, m := range all {
		text, err := os.ReadFile(filepath.Join(root, m[1]))
		if err != nil {
			t.Errorf("%s: read what %s refers to: %v", design, m[0], err)
			continue
		}
		definition := `(?m)^(?:func (?:\([^)]*\) )?|type |\s*def |\s*class )` + m[2] + `\b`
		defined := regexp.MustCompile(definition)
		if !defined.Match(text) {
			t.Errorf("%s: %s defines no %s", design, m[1], m[2])
		}
	}
	if len(all) < 60 {
		t.Errorf("%s: got %d references to code, want at least 60", design, len(all))
	}
}

func readDesign(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, design))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
