package packages

import (
	_ "embed"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// usedTable has the most used packages, and a line of Python for each.
//
//go:embed testdata/used.txt
var usedTable string

// usedPins are the distributions that they are made of.
//
//go:embed testdata/used-pins.txt
var usedPins string

// usedHeading begins the part of docs/packages.md that TestUsed writes.
const usedHeading = "## The most used packages\n"

// usedAbout stands before the tables.
const usedAbout = "What `make test-packages` does with each: a line of Python, by " +
	"`mitogen run --venv` in a directory tree that can't see the packages, and by plain Python that " +
	"can; both print the same.\n" +
	"The counts are of a first run, the context's start and the result included; what the " +
	"program prints in between may add to them.\nCPython 3.13. `MITOGEN_PROGRAMS=. go test " +
	"-run TestUsed ./internal/packages -update` writes them.\n"

// used is a row of the table.
type used struct {
	name, code string
	native     bool // it has extension modules
}

func usedRows() (all []used) {
	native := false
	for line := range strings.Lines(usedTable) {
		if line[0] == '#' {
			native = native || strings.Contains(line, "extension modules")
			continue
		}
		name, code, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		all = append(all, used{name, code, native})
	}
	return all
}

// TestUsed does what the table says, in plain Python beside the packages and by mitogen run, which
// have to print the same (make test-packages). With -update the rows that ran go into
// docs/packages.md. MITOGEN_PROGRAMS is a regular expression for their names.
func TestUsed(t *testing.T) {
	pattern := os.Getenv("MITOGEN_PROGRAMS")
	if pattern == "" {
		t.Skip("installs many packages: make test-packages")
	}
	if os.Geteuid() != 0 {
		t.Skip("a directory tree to enter needs root")
	}
	wanted := regexp.MustCompile(pattern)
	b := newBench(t, "used", usedPins)
	var mu sync.Mutex // protects the document
	for _, u := range usedRows() {
		if !wanted.MatchString(u.name) {
			continue
		}
		t.Run(u.name, func(t *testing.T) {
			t.Parallel()
			o := b.compare(t, row{name: u.name, script: u.code + "\n"})
			if t.Failed() || !*update {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			err := writeUsed(map[string]string{u.name: fmt.Sprintf("| %s | %s | `%s` | %d | %d |\n",
				u.name, usedVersion(u.name), strings.ReplaceAll(u.code, "|", `\|`), o.trips,
				(o.bytes+500)/1000)})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

var separators = strings.NewReplacer("_", "-", ".", "-")

func usedVersion(name string) string {
	for line := range strings.Lines(usedPins) {
		dist, version, _ := strings.Cut(strings.TrimSpace(line), "==")
		if separators.Replace(strings.ToLower(dist)) == name {
			return version
		}
	}
	return ""
}

// usedPart returns the part of docs/packages.md that TestUsed writes, and what stands before it.
func usedPart() (before, part string, err error) {
	text, err := os.ReadFile(doc)
	before, part, found := strings.Cut(string(text), usedHeading)
	if found {
		part = usedHeading + part
	}
	return strings.TrimRight(before, "\n") + "\n", part, err
}

// writeUsed puts rows into docs/packages.md, in the place of those of the same packages. Those of
// packages that are no longer in the table go.
func writeUsed(cells map[string]string) error {
	before, part, err := usedPart()
	if err != nil {
		return err
	}
	for line := range strings.Lines(part) {
		if f := strings.Split(line, " | "); len(f) > 3 {
			name := strings.TrimPrefix(f[0], "| ")
			if _, new := cells[name]; !new {
				cells[name] = line
			}
		}
	}
	var tables [2]strings.Builder
	var counts [2]int
	for _, u := range usedRows() {
		i := 0
		if u.native {
			i = 1
		}
		if cells[u.name] != "" {
			counts[i]++
			tables[i].WriteString(cells[u.name])
		}
	}
	const head = "\n| package | version | what is done | round trips | kB |\n|---|---|---|---:|---:|\n"
	text := fmt.Sprintf("%s\n%s\n%s\n### %d pure ones\n%s%s\n### %d with extension modules\n%s%s",
		before, usedHeading, usedAbout, counts[0], head, tables[0].String(),
		counts[1], head, tables[1].String())
	return os.WriteFile(doc, []byte(text), 0o644)
}

// The table has as many packages as it is to have, pinned, and the document has those rows.
func TestUsedTable(t *testing.T) {
	var counts [2]int
	_, part, err := usedPart()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, u := range usedRows() {
		if slices.Contains(names, u.name) || u.code == "" || usedVersion(u.name) == "" {
			t.Errorf("%s: no code, not pinned, or twice", u.name)
		}
		names = append(names, u.name)
		row := fmt.Sprintf("\n| %s | %s | `%s` |", u.name, usedVersion(u.name),
			strings.ReplaceAll(u.code, "|", `\|`))
		if !strings.Contains(part, row) {
			t.Errorf("docs/packages.md lacks %s: run with -update", u.name)
		}
		if u.native {
			counts[1]++
		} else {
			counts[0]++
		}
	}
	if counts[0] < 100 || counts[1] < 40 {
		t.Errorf("got %d pure packages and %d with extension modules, want 100 and 40",
			counts[0], counts[1])
	}
}
