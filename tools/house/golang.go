package main

import (
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// goType has the figures of a package's type.
type goType struct {
	file            string
	line            int
	fields, methods int
}

// goTypes are all types that are no test's, by directory and name.
type goTypes map[string]*goType

func (t goTypes) at(file, name string) *goType {
	key := path.Dir(file) + "." + name
	if t[key] == nil {
		t[key] = &goType{file: file}
	}
	return t[key]
}

// report notes the sizes.
func (t goTypes) report(h *house) {
	for name, d := range t {
		if d.fields > 0 {
			h.addWhole("fields", d.file, d.line, d.fields, name)
		}
		if d.methods > 0 {
			h.addWhole("methods", d.file, d.line, d.methods, name)
		}
	}
}

func (h *house) goFile(name string, src []byte, types goTypes) error {
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	for _, group := range f.Comments {
		h.prose(name, goComment(set, group))
	}
	if strings.HasSuffix(name, "_test.go") {
		h.testFiles++
		h.failures(set, f, name)
		return nil
	}
	h.goFiles++
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			h.function(set, d, name, types)
		case *ast.GenDecl:
			h.types(set, d, name, types)
		}
	}
	return nil
}

// goComment takes the markers off.
func goComment(set *token.FileSet, group *ast.CommentGroup) comment {
	var lines []string
	for _, c := range group.List {
		text := strings.TrimSuffix(strings.TrimPrefix(c.Text, "/*"), "*/")
		for line := range strings.SplitSeq(text, "\n") {
			lines = append(lines, strings.TrimSpace(strings.TrimPrefix(line, "//")))
		}
	}
	return comment{set.Position(group.Pos()).Line, strings.Join(lines, "\n")}
}

func (h *house) function(set *token.FileSet, d *ast.FuncDecl, name string, types goTypes) {
	first, last := set.Position(d.Pos()).Line, set.Position(d.End()).Line
	h.goFunctions = append(h.goFunctions, last-first+1)
	h.addWhole("go-function", name, first, last-first+1, d.Name.Name)
	if d.Recv != nil && len(d.Recv.List) == 1 {
		types.at(name, receiver(d.Recv.List[0].Type)).methods++
	}
}

// receiver returns the name of a method's type.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

func (h *house) types(set *token.FileSet, d *ast.GenDecl, name string, types goTypes) {
	for _, s := range d.Specs {
		spec, ok := s.(*ast.TypeSpec)
		if !ok {
			continue
		}
		line := set.Position(spec.Pos()).Line
		if spec.Assign.IsValid() && spec.Name.IsExported() && path.Dir(name) == "." {
			h.addWhole("alias", name, line, 0, spec.Name.Name)
		}
		t := types.at(name, spec.Name.Name)
		t.file, t.line = name, line
		if body, ok := spec.Type.(*ast.StructType); ok {
			t.fields = body.Fields.NumFields()
		}
	}
}

var (
	verb = regexp.MustCompile(`%[-+# 0-9.*\[\]]*[a-zA-Z%]`)
	word = regexp.MustCompile(`\pL{2}`)
)

// failures notes calls of Errorf and Fatalf whose format has no word.
func (h *house) failures(set *token.FileSet, f *ast.File, name string) {
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) == 0 || !fails(call.Fun) {
			return true
		}
		format, ok := call.Args[0].(*ast.BasicLit)
		if ok && !word.MatchString(verb.ReplaceAllString(format.Value, "")) {
			h.add("wordless", name, set.Position(call.Pos()).Line, format.Value)
		}
		return true
	})
}

// fails reports whether a function is a test's Errorf or Fatalf.
func fails(fn ast.Expr) bool {
	sel, ok := fn.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != "Errorf" && sel.Sel.Name != "Fatalf" {
		return false
	}
	x, ok := sel.X.(*ast.Ident)
	return !ok || x.Name != "fmt"
}

const module = "github.com/mitogen-go/mitogen"

// packages notes the packages of this module that the root package needs on Linux.
func (h *house) packages(dir string) error {
	linux := build.Default
	linux.GOOS, linux.GOARCH, linux.CgoEnabled = "linux", "amd64", false
	seen := []string{"."}
	for i := 0; i < len(seen); i++ {
		imports, err := importsOf(linux, filepath.Join(dir, seen[i]))
		if err != nil {
			return err
		}
		for _, imp := range imports {
			rel, ours := strings.CutPrefix(imp, module+"/")
			if ours && !slices.Contains(seen, rel) {
				seen = append(seen, rel)
			}
		}
	}
	if len(seen) == 1 {
		return nil // a tree without a library
	}
	slices.Sort(seen)
	for _, pkg := range seen {
		h.addWhole("package", pkg, 0, 0, "is compiled")
	}
	return nil
}

// importsOf returns what the files of a package import that aren't tests.
func importsOf(ctx build.Context, dir string) ([]string, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	var all []string
	for _, name := range names {
		ok, err := ctx.MatchFile(dir, filepath.Base(name))
		if err != nil {
			return nil, fmt.Errorf("read imports: %w", err)
		}
		if !ok || strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return nil, fmt.Errorf("read imports: %w", err)
		}
		for _, s := range f.Imports {
			imp, _ := strconv.Unquote(s.Path.Value)
			all = append(all, imp)
		}
	}
	return all, nil
}
