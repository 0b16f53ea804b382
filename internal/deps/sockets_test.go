package deps

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// dialers are the packages that connect to UNIX sockets by other means than peer.Dial, which looks
// at who listens: how often, and why that is right.
var dialers = map[string]struct {
	calls int
	why   string
}{
	"internal/peer":      {3, "peer.Dial; two send nothing and look whether anything listens"},
	"internal/cli":       {1, "sends nothing: looks whether there is an ssh-agent"},
	"internal/engine":    {1, "an ssh-agent, at the path that the user names, as ssh has it"},
	"internal/sshnative": {1, "the same"},
	"internal/serial":    {1, "a console, at the path that the user names"},
}

// TestSocketsAreChecked: a client of a local socket reaches it by peer.Dial, so that no other user
// is sent anything (docs/protocol, section 9), but for those that are listed.
func TestSocketsAreChecked(t *testing.T) {
	found := map[string]int{}
	for _, s := range sources(t) {
		if !strings.HasPrefix(s.pkg, "internal/") && s.pkg != "." || isHelper(s.pkg) {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, s.pkg, s.name), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && dialsUnix(call) {
				found[s.pkg]++
			}
			return true
		})
	}
	for pkg, n := range found {
		if want := dialers[pkg].calls; n != want {
			t.Errorf("%s connects to a UNIX socket %d times, want %d: use peer.Dial, or list it", pkg, n,
				want)
		}
	}
	for pkg := range dialers {
		if found[pkg] == 0 {
			t.Errorf("%s is listed, and connects to no UNIX socket", pkg)
		}
	}
}

// dialsUnix tells whether a call is net.Dial and the like, with the network "unix".
func dialsUnix(call *ast.CallExpr) bool {
	fun, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || !strings.HasPrefix(fun.Sel.Name, "Dial") && !strings.HasPrefix(fun.Sel.Name, "dial") {
		return false
	}
	for _, arg := range call.Args {
		if lit, ok := arg.(*ast.BasicLit); ok && strings.HasPrefix(lit.Value, `"unix`) {
			return true
		}
	}
	return false
}
