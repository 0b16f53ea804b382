package audit

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	_ "github.com/mitogen-go/mitogen/internal/testenv"
	"github.com/mitogen-go/mitogen/report"
)

func TestLines(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	for range 2 { // the second process appends
		l, err := Open(name, "call")
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Tell(report.Event{Kind: report.EventModule, ID: 2, Parent: 1, Context: "a\u202eb",
			Name: "m"}); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(3); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if len(lines) != 6 ||
		!strings.Contains(
			lines[1],
			`"id":2,"parent":1,"context":"a\u202eb","name":"m","outcome":"given","bytes":0}`,
		) ||
		!strings.HasSuffix(lines[5], `"status":3}`) {
		t.Errorf("got %s", text)
	}
	for _, line := range lines {
		if !json.Valid([]byte(line)) {
			t.Errorf("got %s, want JSON", line)
		}
	}
	if st, err := os.Stat(name); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v, want mode 0600", st.Mode(), err)
	}
}

// Only a plain file of one's own is a log. Opening another neither changes it nor waits.
func TestUnsafePlaces(t *testing.T) {
	dir := t.TempDir()
	own := filepath.Join(dir, "own")
	if err := os.WriteFile(own, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, make := range map[string]func(place string) error{
		"link":     func(p string) error { return os.Symlink(own, p) },
		"dangling": func(p string) error { return os.Symlink(filepath.Join(dir, "new"), p) },
		"open": func(p string) error {
			return errors.Join(os.WriteFile(p, nil, 0o600), os.Chmod(p, 0o640))
		},
		"directory": func(p string) error { return os.Mkdir(p, 0o700) },
		"pipe":      func(p string) error { return syscall.Mkfifo(p, 0o600) },
		"device":    func(p string) error { return os.Symlink("/dev/null", p) },
		"second":    func(p string) error { return os.Link(own, p) },
		"by another": func(p string) error {
			return errors.Join(os.WriteFile(p, nil, 0o600), os.Chown(p, 12345, 12345))
		},
	} {
		t.Run(name, func(t *testing.T) {
			place := filepath.Join(dir, name)
			if err := make(place); errors.Is(err, os.ErrPermission) {
				t.Skip("needs root")
			} else if err != nil {
				t.Fatal(err)
			}
			if l, err := Open(place, "x"); err == nil {
				l.Close(0)
				t.Error("got no error")
			}
			if name == "second" {
				os.Remove(place)
			}
		})
	}
	if text, _ := os.ReadFile(own); string(text) != "kept" {
		t.Errorf("the file that a link leads to holds %q", text)
	}
	if _, err := os.Stat(filepath.Join(dir, "new")); err == nil {
		t.Error("a link was followed")
	}
}

func TestWriteFails(t *testing.T) {
	l, err := Open(filepath.Join(t.TempDir(), "log"), "x")
	if err != nil {
		t.Fatal(err)
	}
	l.f.Close()
	if err := l.Tell(report.Event{Kind: report.EventCall}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v, want %v", err, os.ErrClosed)
	}
}

// docs/json.md has each event and each key, and no other keys.
func TestDocument(t *testing.T) {
	page, err := os.ReadFile("../../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(page), "\n## The lines of --audit\n")
	if !ok {
		t.Fatal("docs/json.md has no section on the audit log")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for kind := range kinds(t) {
		if !strings.Contains(section, "\n| `"+kind+"` | ") {
			t.Errorf("docs/json.md has no row for event %s", kind)
		}
	}
	if got, want := strings.Count(section, "\n| `"), len(kinds(t)); got != want {
		t.Errorf("docs/json.md has %d events, want %d", got, want)
	}
	typ := reflect.TypeFor[Line]()
	for i := range typ.NumField() {
		key, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
		if !strings.Contains(section, "`"+key+"`") {
			t.Errorf("docs/json.md doesn't say what %s is", key)
		}
	}
}

// kinds are the events that there are: those of package report, and of this package's.
func kinds(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{Begin: true, Done: true}
	file, err := parser.ParseFile(token.NewFileSet(), "../../report/event.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || spec.Type == nil {
			return true
		}
		if name, ok := spec.Type.(*ast.Ident); ok && name.Name == "EventKind" {
			all[strings.Trim(spec.Values[0].(*ast.BasicLit).Value, `"`)] = true
		}
		return true
	})
	if len(all) < 10 {
		t.Fatalf("only %d kinds were found", len(all))
	}
	return all
}
