package deps

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// parties are those of docs/security.md, each of which must be in its tables.
var parties = []string{"engine", "program", "hop", "context", "target account", "other account",
	"other user", "SSH server",
	"Ansible module", "inventory", "daemon client", "console", "network"}

// harmless are parties that nothing is promised against.
var harmless = map[string]bool{"engine": true, "program": true}

// A rule of docs/security.md is held by tests that exist.
func TestSecurityTable(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs/security.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]map[string]int{} // by section and party
	section := ""
	for line := range strings.Lines(string(text)) {
		if title, ok := strings.CutPrefix(line, "## "); ok {
			section = strings.TrimSpace(title)
			rows[section] = map[string]int{}
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if !strings.HasPrefix(line, "| ") || len(cells) < 2 {
			continue
		}
		party := strings.TrimSpace(cells[0])
		rows[section][party]++
		if section == "What each can't do" && party != "party" {
			holds(t, line, cells)
		}
	}
	for _, section := range []string{"The parties", "What each can do", "What each can't do"} {
		for _, party := range parties {
			if rows[section][party] == 0 && !(section == "What each can't do" && harmless[party]) {
				t.Errorf("%s: no row for %s", section, party)
			}
			delete(rows[section], party)
		}
		delete(rows[section], "party")
		for party := range rows[section] {
			t.Errorf("%s: %q is no party", section, party)
		}
	}
}

var heldBy = regexp.MustCompile("`([a-z]+)\\.((?:Test|Fuzz)\\w+)`")

// holds looks for the tests of a row.
func holds(t *testing.T, line string, cells []string) {
	t.Helper()
	last := cells[len(cells)-1]
	all := heldBy.FindAllStringSubmatch(last, -1)
	if len(cells) != 3 || strings.TrimSpace(cells[1]) == "" || len(all) == 0 {
		t.Errorf("a row needs a party, what it can't do, and a test: %s", line)
	}
	if rest := strings.Trim(heldBy.ReplaceAllString(last, ""), ", |\n"); rest != "" {
		t.Errorf("%q names no test: %s", rest, line)
	}
	for _, m := range all {
		if !hasTest(t, m[1], m[2]) {
			t.Errorf("package %s has no %s, which holds: %s", m[1], m[2], line)
		}
	}
}

// hasTest looks in a package of internal, or in a public one.
func hasTest(t *testing.T, pkg, name string) bool {
	t.Helper()
	dir := filepath.Join(root, "internal", pkg)
	switch pkg {
	case "mitogen":
		dir = root
	case "secret":
		dir = filepath.Join(root, pkg)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+name+"(") {
			return true
		}
	}
	return false
}
