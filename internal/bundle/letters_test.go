package bundle

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// A letter is one thing: forms has all letters of package modules, each with the form that the wire
// has that letter for.
func TestLetters(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../modules/modules.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		if _, ok := n.(*ast.FuncDecl); ok {
			return false
		}
		lit, ok := n.(*ast.BasicLit)
		if !ok || lit.Kind != token.CHAR {
			return true
		}
		found++
		if letter := lit.Value[1]; byte(Form(letter)) != letter {
			t.Errorf("letter %c of modules: got form %q on the wire (%v), want the same letter", letter,
				byte(Form(letter)), Form(letter))
		}
		return true
	})
	if found != len(forms) {
		t.Errorf("got %d letters in package modules, want the %d that have forms", found, len(forms))
	}
}

// The runtime asks for no letter that the wire doesn't have.
func TestLettersOfTheRuntime(t *testing.T) {
	files, err := filepath.Glob("../../python/*.py")
	core, _ := filepath.Glob("../../python/core/*.py")
	if err != nil || len(core) == 0 {
		t.Fatalf("got %v, %d files of the core, want all", err, len(core))
	}
	asks := regexp.MustCompile(`(?:\bm|MODULES\[name\]|MODULES\.get\(name, '-'\))` +
		`\[0\] (?:==|!=|in|not in) '([^']*)'` +
		`|\bletter (?:==|!=|in) '([^']*)'`)
	seen := map[rune]bool{}
	for _, file := range append(files, core...) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range asks.FindAllStringSubmatch(string(text), -1) {
			for _, letter := range m[1] + m[2] {
				seen[letter] = true
				if strings.HasPrefix(wire.ModuleForm(letter).String(), "unknown") {
					t.Errorf("%s: %s: %c is no letter of the wire", file, m[0], letter)
				}
			}
		}
	}
	if len(seen) < 7 {
		t.Errorf("got %d letters, want most", len(seen))
	}
}
