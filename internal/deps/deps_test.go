// Package deps holds no code: its test says which package may import which.
package deps

import (
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	_ "github.com/mitogen-go/mitogen/internal/testenv"
)

const (
	module = "github.com/mitogen-go/mitogen"
	root   = "../.."
)

// graph has a line for each package: itself, then what of ours its code (not its tests) may import;
// `.` is the public package. An indented line continues the line above it. Imports point downwards:
// to earlier lines. A new edge is a decision about the design, not something to be added to make a
// build pass.
const graph = `
internal/lazyregexp:
internal/confine:
internal/wire:
internal/pysource:     internal/lazyregexp
internal/printable:
secret:
pyvalue:               secret
connect:               internal/printable secret
report:                internal/printable pyvalue connect
internal/pickle:       secret pyvalue
internal/process:      secret
internal/ownfile:
internal/boot:         internal/wire
internal/pylink:       internal/lazyregexp internal/boot internal/pysource
internal/methods:      internal/lazyregexp secret internal/printable internal/boot connect
internal/route:        internal/wire
internal/boot/gen:     internal/boot internal/pylink
internal/wheel:
internal/modules:      internal/lazyregexp internal/confine internal/pysource internal/wheel
internal/closure:      internal/lazyregexp internal/pysource internal/modules
internal/bundle:       internal/wire internal/modules internal/closure
internal/forward:      internal/wire internal/pysource internal/modules internal/closure
	internal/bundle internal/ownfile report
internal/stream:       internal/wire
internal/peer:         internal/process
internal/spawn:        internal/printable internal/methods internal/process internal/peer secret
internal/goctx:        internal/wire internal/pickle internal/stream internal/process
	internal/ownfile internal/peer pyvalue report
cmd/mitogen-agent:     internal/goctx
internal/jsonvalue:    internal/printable pyvalue
internal/askpass:      internal/printable internal/lazyregexp internal/confine internal/methods
	internal/peer secret connect
internal/sshmux:       internal/peer
internal/sshconf:      internal/lazyregexp
internal/portforward:  internal/process internal/peer
internal/proxy:        internal/peer
internal/sshnative:    internal/printable internal/methods internal/process internal/sshconf
	secret internal/lazyregexp connect
internal/agentproxy:
internal/seriallink:
internal/serial:       internal/seriallink internal/lazyregexp internal/printable internal/boot
	internal/methods internal/spawn secret connect
internal/aside:
internal/stdio:        report
internal/gobinary:     internal/printable internal/bundle
internal/engine:       internal/goctx internal/agentproxy internal/printable internal/wire
	internal/pickle internal/methods internal/sshconf internal/route internal/boot internal/pysource
	internal/modules internal/bundle internal/forward internal/stream internal/spawn internal/askpass
	internal/proxy internal/sshmux internal/sshnative internal/serial secret internal/lazyregexp
	internal/aside internal/stdio internal/gobinary pyvalue report connect
internal/audit:        internal/jsonvalue internal/ownfile report
internal/jsonline:
internal/muxserve:
internal/ansible:      internal/muxserve internal/peer internal/printable secret internal/pickle
	internal/wire internal/boot internal/methods internal/jsonline internal/engine internal/lazyregexp
	pyvalue report connect
internal/daemonclient: internal/printable internal/methods internal/sshconf internal/peer
	internal/engine internal/jsonline secret report connect
internal/daemon:       internal/printable internal/pickle internal/boot internal/methods
	internal/process internal/jsonvalue internal/modules internal/peer internal/engine
	internal/jsonline internal/ansible secret internal/lazyregexp internal/daemonclient report connect
internal/inventory:    internal/lazyregexp internal/methods secret connect
internal/program:      internal/inventory internal/printable internal/wire internal/pickle
	internal/stream internal/modules internal/engine pyvalue secret connect
.:                     internal/goctx internal/pickle internal/ownfile internal/engine
	internal/daemonclient secret pyvalue report connect
internal/demo:         . internal/printable report connect
internal/sshargs:
internal/sshserve:     internal/process internal/portforward internal/peer internal/printable
internal/cli:          . internal/program internal/sshargs internal/muxserve internal/portforward
	internal/sshserve internal/peer internal/process internal/ownfile internal/printable
	internal/confine internal/audit internal/ansible internal/methods internal/jsonvalue
	internal/daemon internal/daemonclient internal/modules internal/inventory internal/demo secret
	internal/lazyregexp internal/goctx report connect
internal/packages:
internal/pyfront:
cmd/mitogen:           . internal/cli

tools/pyzip:
tools/pywheel:
tools/sbom:
tools/house:           internal/pysource
tools/subset:          internal/pysource
`

// helpers are for tests only: code may import them only in the packages below them.
var helpers = []string{"internal/testenv", "internal/testpython", "internal/linksim",
	"internal/sessions", "internal/askcases", "internal/lab", "internal/hostile",
	"internal/consolesim"}

// engineModules are all that the library may link besides the standard library.
var engineModules = []string{"golang.org/x/sys", "golang.org/x/crypto", "golang.org/x/sync"}

// elsewhere lists the modules that the program may link on systems other than Linux.
var elsewhere = []string{"github.com/creack/pty"}

// source is one Go file that is no test.
type source struct {
	pkg     string // directory, relative to the module
	name    string
	imports []string
}

func TestInternalImports(t *testing.T) {
	allowed, order := parseGraph(t)
	for _, s := range sources(t) {
		if isHelper(s.pkg) || strings.HasPrefix(s.pkg, "bench") || strings.HasPrefix(s.pkg, "examples") {
			continue
		}
		may, known := allowed[s.pkg]
		if !known {
			t.Errorf("package %s is not in the graph", s.pkg)
			continue
		}
		for _, imp := range s.imports {
			p, ours := inModule(imp)
			switch {
			case !ours || p == s.pkg:
			case !slices.Contains(may, p):
				t.Errorf("%s/%s imports %s, which the graph doesn't allow", s.pkg, s.name, p)
			case order[p] > order[s.pkg]:
				t.Errorf("the graph lets %s import %s, which is above it", s.pkg, p)
			}
		}
	}
}

// TestLibraryLinks follows the imports of the public package.
func TestLibraryLinks(t *testing.T) {
	bySource := map[string][]source{}
	for _, s := range sources(t) {
		bySource[s.pkg] = append(bySource[s.pkg], s)
	}
	linux := build.Default
	linux.GOOS, linux.CgoEnabled = "linux", false
	seen := map[string]bool{".": true}
	for todo := []string{"."}; len(todo) > 0; todo = todo[1:] {
		for _, s := range bySource[todo[0]] {
			for _, imp := range s.imports {
				if p, ours := inModule(imp); ours && !seen[p] {
					seen[p] = true
					todo = append(todo, p)
				}
				if external(imp) && !within(imp, engineModules) &&
					!(within(imp, elsewhere) && !matches(t, linux, s)) {
					t.Errorf("%s/%s: the library must not link %s", s.pkg, s.name, imp)
				}
			}
		}
	}
}

// TestExpressionsAreLazy demands of the packages that the program links that none compiles a
// regular expression whenever a process starts.
func TestExpressionsAreLazy(t *testing.T) {
	allowed, _ := parseGraph(t)
	for _, s := range sources(t) {
		if allowed[s.pkg] == nil || strings.HasPrefix(s.pkg, "tools/") {
			continue
		}
		name := filepath.Join(root, s.pkg, s.name)
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if g, ok := d.(*ast.GenDecl); ok && compiles(g) {
				t.Errorf("%s/%s compiles a regular expression at each start, want lazyregexp.New", s.pkg,
					s.name)
			}
		}
	}
}

// compiles reports whether a declaration calls regexp.MustCompile outside of functions.
func compiles(d *ast.GenDecl) (found bool) {
	ast.Inspect(d, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "MustCompile" {
			x, _ := sel.X.(*ast.Ident)
			found = found || x != nil && x.Name == "regexp"
		}
		_, function := n.(*ast.FuncLit)
		return !function
	})
	return found
}

// starters import internal/testenv, so that tests which import them needn't.
var starters = []string{"internal/testenv", "internal/testpython", "internal/lab",
	"internal/hostile"}

// TestSurroundingsOfTests demands of tests that see a process's surroundings, or start programs in
// them, that these don't depend on how they are started.
func TestSurroundingsOfTests(t *testing.T) {
	sees := []string{"os", "os/exec", module, module + "/internal/engine", module + "/internal/spawn"}
	imports := map[string][]string{}
	for _, s := range testSources(t) {
		imports[s.pkg] = append(imports[s.pkg], s.imports...)
	}
	if len(imports) < 40 {
		t.Errorf("got tests in %d packages, want at least 40", len(imports))
	}
	for pkg, all := range imports {
		starts := slices.ContainsFunc(all, func(i string) bool { return slices.Contains(sees, i) })
		same := isHelper(pkg) || slices.ContainsFunc(all, func(i string) bool {
			p, _ := inModule(i)
			return slices.Contains(starters, p)
		})
		if starts && !same && pkg != "bench" {
			t.Errorf("tests of %s depend on how they are started: import internal/testenv", pkg)
		}
	}
}

// TestReasons demands a reason for each module that go.mod requires directly.
func TestReasons(t *testing.T) {
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	reasons, err := os.ReadFile(filepath.Join(root, "docs/dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mod)) {
		fields := strings.Fields(strings.TrimPrefix(line, "require "))
		if len(fields) == 2 && strings.HasPrefix(fields[1], "v") &&
			!strings.Contains(string(reasons), "`"+fields[0]+"`") {
			t.Errorf("docs/dependencies.md has no reason for %s", fields[0])
		}
	}
}

func parseGraph(t *testing.T) (allowed map[string][]string, order map[string]int) {
	t.Helper()
	allowed, order = map[string][]string{}, map[string]int{}
	for line := range strings.Lines(strings.ReplaceAll(graph, "\n\t", " ")) {
		pkg, may, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			continue
		}
		if _, twice := allowed[pkg]; twice {
			t.Errorf("%s is in the graph twice", pkg)
		}
		allowed[pkg], order[pkg] = strings.Fields(may), len(order)
	}
	return allowed, order
}

// sources returns all files that aren't tests, for whatever platform.
func sources(t *testing.T) []source { return files(t, false) }

// testSources returns all files of tests.
func testSources(t *testing.T) []source { return files(t, true) }

func files(t *testing.T, tests bool) []source {
	t.Helper()
	var found []source
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && p != root &&
			(strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "bin") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") != tests {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(p))
		s := source{pkg: filepath.ToSlash(dir), name: d.Name()}
		for _, spec := range f.Imports {
			imp, _ := strconv.Unquote(spec.Path.Value)
			s.imports = append(s.imports, imp)
		}
		found = append(found, s)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// inModule returns the directory of a package of ours.
func inModule(imp string) (dir string, ours bool) {
	if imp == module {
		return ".", true
	}
	return strings.CutPrefix(imp, module+"/")
}

func isHelper(pkg string) bool {
	return slices.ContainsFunc(helpers,
		func(h string) bool { return pkg == h || strings.HasPrefix(pkg, h+"/") })
}

// external reports whether imp is neither ours nor of the standard library.
func external(imp string) bool {
	_, ours := inModule(imp)
	first, _, _ := strings.Cut(imp, "/")
	return !ours && strings.Contains(first, ".")
}

func within(imp string, modules []string) bool {
	return slices.ContainsFunc(modules,
		func(m string) bool { return imp == m || strings.HasPrefix(imp, m+"/") })
}

func matches(t *testing.T, ctx build.Context, s source) bool {
	t.Helper()
	ok, err := ctx.MatchFile(filepath.Join(root, path.Clean(s.pkg)), s.name)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}
