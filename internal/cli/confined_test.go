package cli

import (
	"os"
	"strings"
	"testing"
)

// What the kernel lacks is said in words.
func TestConfined(t *testing.T) {
	for want, c := range map[string]confined{
		"by Landlock 7 and seccomp: ":          {Landlock: 7, Seccomp: true},
		"by Landlock 1; no seccomp: none here": {Landlock: 1, Missing: "none here"},
		"no: none here; ":                      {Seccomp: true, Missing: "none here"},
	} {
		if got := c.line(); !strings.HasPrefix(got, want) {
			t.Errorf("%+v: got %q, want %q first", c, got, want)
		}
	}
}

// Doctor tells all that docs/security.md has reasons for.
func TestUnconfined(t *testing.T) {
	text, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(text),
		"| would be restricted | why it is not |\n|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	rows := strings.Split(strings.TrimSpace(table), "\n")
	if !found || len(rows) != len(unconfined) {
		t.Fatalf("got %d parts, want the %d rows of docs/security.md", len(unconfined), len(rows))
	}
	for i, row := range rows {
		if want := "| " + unconfined[i].what + " |"; !strings.HasPrefix(strings.ReplaceAll(row, "`", ""),
			want) {
			t.Errorf("row %d of docs/security.md: got %q, want %q", i, row, want)
		}
		if unconfined[i].why == "" {
			t.Errorf("%s: no reason", unconfined[i].what)
		}
	}
}
