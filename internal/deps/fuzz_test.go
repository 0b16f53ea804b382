package deps

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// foreign are the packages that read what comes from outside of the program: each line has a
// package, and what it reads. Each of them has a fuzz target.
const foreign = `
internal/wire:      frames and their payloads, from contexts
internal/pickle:    values, from contexts
internal/route:     frames, from contexts
internal/engine:    all that a context sends
internal/bundle:    what contexts lack and drop
internal/jsonvalue: values, from contexts and the command line
internal/pysource:  Python programs
internal/modules:   .pth files and metadata of distributions, questions of contexts about files
internal/wheel:     what interpreters say of themselves, files of wheels
internal/methods:   targets
internal/spawn:     what programs ask on a terminal
internal/askpass:   questions of ssh, and what it says of itself
internal/sshmux:    replies of ssh
internal/sshargs:   what programs call ssh with
internal/agentproxy: requests to an ssh-agent
internal/muxserve:  requests of ssh programs
internal/portforward: requests of SOCKS clients
internal/sshserve:  requests of SSH clients
internal/sshconf:   ssh's configuration
internal/sshnative: what ssh says of its configuration, lists of known hosts, keys
internal/proxy:     what ssh wants to be connected to
internal/jsonline:  messages on local sockets
internal/ownfile:   records of files, from contexts
internal/seriallink: lines of a console
internal/serial:    what consoles show, telnet
internal/daemonclient: messages of clients, and of the daemon
internal/ansible:   wrappers of modules, from a playbook
internal/inventory: inventories
internal/goctx:     frames, from ancestors and allowed contexts
internal/cli:       ssh's configuration, for completion
`

// readers are packages of the standard library, and third-party packages, that parse foreign input,
// and calls that do.
var readers = []string{"encoding/json", "encoding/binary", "encoding/pem", "encoding/base64",
	"bufio", "go.yaml.in/yaml", "gopkg.in/yaml",
	"golang.org/x/crypto/ssh", "net"}

// notForeign are packages that import one of readers and read nothing foreign by it.
var notForeign = map[string]string{
	"internal/boot":     "writes base64",
	"internal/daemon":   "has daemonclient read",
	"internal/audit":    "writes JSON",
	"internal/closure":  "keys",
	"internal/forward":  "keys",
	"internal/gobinary": "writes checksums; binaries are the user's",
	"internal/peer":     "has sockets, what comes on them is others'",
	"internal/demo":     "starts servers of its own",
	"internal/process":  "accepts, and reads nothing",
	"internal/boot/gen": "writes what is embedded",
	"tools/subset":      "reads this module's runtime",
	"internal/program":  "has the socket of its own program, whose frames wire and pickle read",
	".":                 "net.Conn only",
}

// TestForeignInputIsFuzzed fails for a package that reads foreign input without a fuzz target, or
// that may and isn't listed.
func TestForeignInputIsFuzzed(t *testing.T) {
	listed := map[string]bool{}
	for line := range strings.Lines(strings.TrimSpace(foreign)) {
		pkg, what, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok || strings.TrimSpace(what) == "" {
			t.Fatalf("line %q: want PACKAGE: WHAT", line)
		}
		listed[pkg] = true
		if len(fuzzTargets(t, pkg)) == 0 {
			t.Errorf("%s reads %s and has no fuzz target", pkg, strings.TrimSpace(what))
		}
	}
	for _, s := range sources(t) {
		if listed[s.pkg] || notForeign[s.pkg] != "" || isHelper(s.pkg) ||
			strings.HasPrefix(s.pkg, "bench") || strings.HasPrefix(s.pkg, "examples") ||
			strings.HasPrefix(s.pkg, "tools") {
			continue
		}
		for _, path := range s.imports {
			if slices.ContainsFunc(readers,
				func(r string) bool { return path == r || strings.HasPrefix(path, r+"/") }) {
				t.Errorf("%s imports %s: list it in foreign, with a fuzz target, or in notForeign, with a "+
					"reason", s.pkg, path)
			}
		}
	}
}

// fuzzTargets returns the names of a package's fuzz targets.
func fuzzTargets(t *testing.T, pkg string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, pkg, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Fuzz") {
				names = append(names, fn.Name.Name)
			}
		}
	}
	return names
}
