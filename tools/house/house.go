package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// kind describes one sort of finding.
type kind struct {
	about string
	most  bool // the limit is for the largest finding, not for their number
}

// kinds are all sorts of findings.
var kinds = map[string]kind{
	"wide":            {about: fmt.Sprintf("lines beyond %d columns", columns)},
	"form":            {about: `comments that begin "X is what", "X is how" and so on`},
	"actor":           {about: `words without an actor in comments: "nobody", "others" and so on`},
	"wordless":        {about: "failures of tests without words"},
	"unbound":         {about: "names that Python files use without an import"},
	"alias":           {about: "exported types of the root package that are aliases"},
	"package":         {about: "packages of ours that a user's program compiles"},
	"subject":         {about: fmt.Sprintf("commit subjects beyond %d characters", subjectLength)},
	"go-function":     {about: "lines of the longest Go function", most: true},
	"python-function": {about: "lines of the longest Python function", most: true},
	"fields":          {about: "fields of the largest struct", most: true},
	"methods":         {about: "methods of the largest type", most: true},
}

func kindNames() []string { return slices.Sorted(maps.Keys(kinds)) }

// whole is the directory of findings that have a limit for the whole tree.
const whole = "*"

// finding is one thing that there should be less of.
type finding struct {
	kind string
	dir  string // what its limit is for: a directory, or whole
	file string // relative to the tree; of a commit its hash
	line int    // 0: none
	size int    // of kinds with most
	text string
}

func (f finding) String() string {
	where := f.file
	if f.line > 0 {
		where = fmt.Sprintf("%s:%d", f.file, f.line)
	}
	if f.size > 0 {
		return fmt.Sprintf("%s: %s: %d", where, f.text, f.size)
	}
	return where + ": " + f.text
}

// house is a tree's figures.
type house struct {
	goFiles, testFiles, pythonFiles int
	goFunctions, pythonFunctions    []int // lines of each that is no test's, sorted
	findings                        []finding
}

// add notes a finding whose limit is its directory's.
func (h *house) add(kind, file string, line int, text string) {
	h.findings = append(h.findings,
		finding{kind: kind, dir: path.Dir(file), file: file, line: line, text: text})
}

// addWhole notes a finding whose limit is the whole tree's.
func (h *house) addWhole(kind, file string, line, size int, text string) {
	h.findings = append(h.findings,
		finding{kind: kind, dir: whole, file: file, line: line, size: size, text: text})
}

// measure looks at the tree in a directory, and at its commits if it is a repository.
func measure(dir string) (*house, error) {
	h := &house{}
	types := goTypes{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			return enter(rel, d.Name())
		}
		if !d.Type().IsRegular() || !slices.Contains([]string{".go", ".py", ".sh"}, path.Ext(rel)) {
			return nil
		}
		src, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return h.file(rel, src, types)
	})
	if err != nil {
		return nil, err
	}
	types.report(h)
	slices.Sort(h.goFunctions)
	slices.Sort(h.pythonFunctions)
	if err := h.packages(dir); err != nil {
		return nil, err
	}
	return h, h.subjects(dir, "HEAD")
}

// enter returns fs.SkipDir for a directory that isn't looked at.
func enter(rel, name string) error {
	hidden := rel != "." && strings.HasPrefix(name, ".")
	outside := slices.Contains([]string{"testdata", "bin", "dist", "__pycache__"}, name)
	if hidden || outside {
		return fs.SkipDir
	}
	return nil
}

func (h *house) file(name string, src []byte, types goTypes) error {
	h.width(name, src)
	switch path.Ext(name) {
	case ".go":
		return h.goFile(name, src, types)
	case ".py":
		return h.pythonFile(name, src)
	}
	return nil
}

// columns is the longest that a line may be. A tab counts as one.
const columns = 100

func (h *house) width(name string, src []byte) {
	n := 0
	for line := range bytes.Lines(src) {
		n++
		text := strings.TrimRight(string(line), "\r\n")
		if length := len([]rune(text)); length > columns {
			h.add("wide", name, n, fmt.Sprintf("%d columns: %s", length, shortened(text)))
		}
	}
}

// shortened is the beginning of a line.
func shortened(text string) string {
	all := []rune(strings.TrimSpace(text))
	if len(all) > 60 {
		return string(all[:60]) + "…"
	}
	return string(all)
}
