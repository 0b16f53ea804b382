package askpass

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"

	"github.com/mitogen-go/mitogen/internal/lazyregexp"
	"github.com/mitogen-go/mitogen/internal/methods"
)

// A Place is the account that an ssh logs in to, as its configuration resolves it.
type Place struct {
	User  string
	Host  string // HostKeyAlias if there is one, which ssh shows in its questions
	Jump  string // value of ProxyJump or ProxyCommand; "": none
	Knows bool   // this ssh names the account before each question of a server
}

// Locate returns the place of an ssh that is started by plan on this machine: what ssh -G says.
func Locate(ctx context.Context, plan methods.Plan) (Place, error) {
	argv := plan.Argv
	args := append([]string{"-G"}, argv[1:len(argv)-1]...) // the last is the remote command
	cmd := exec.CommandContext(ctx, argv[0], args...)
	cmd.Dir, cmd.Env = plan.Dir, plan.Environ(os.Environ())
	out, err := cmd.Output()
	if err != nil {
		return Place{}, fmt.Errorf("ask ssh for its configuration: %w", err)
	}
	return ReadPlace(out, versionOf(argv[0])), nil
}

// ReadPlace reads what ssh -G and ssh -V print.
func ReadPlace(out []byte, version string) Place {
	values := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), " ")
		if _, seen := values[key]; !seen {
			values[key] = value
		}
	}
	p := Place{User: values["user"], Host: values["hostname"], Knows: knows(version)}
	if alias := values["hostkeyalias"]; alias != "" && alias != "none" {
		p.Host = alias
	}
	for _, key := range []string{"proxycommand", "proxyjump"} {
		if v := values[key]; v != "" && v != "none" {
			p.Jump = v
		}
	}
	return p
}

// String is the account as ssh shows it.
func (p Place) String() string { return p.User + "@" + p.Host }

// byCommand tells whether a ProxyCommand leads to the place, and not ssh's own ProxyJump.
func (p Place) byCommand() bool {
	return strings.ContainsAny(p.Jump, " \t") || strings.HasPrefix(p.Jump, "/")
}

// asksPassword tells whether text is the question of an ssh for the password of p, in the words of
// ssh itself or of PAM.
func (p Place) asksPassword(text string) bool {
	if own := cut(p.User, 30) + "@" + cut(p.Host, 128) + "'s password: "; same(text, own, p.User) {
		return true
	}
	prefix := "(" + p.String() + ") "
	if len(text) > len(prefix) && same(text[:len(prefix)], prefix, "("+p.User) {
		return methods.AsksPassword(text[len(prefix):], p.User)
	}
	return !p.Knows && methods.AsksPassword(text, p.User)
}

// same compares questions: the beginning, with the user's name, as it is; the host, which ssh turns
// into lower case, without case.
func same(text, want, begin string) bool {
	return strings.EqualFold(text, want) && strings.HasPrefix(text, cut(begin, 30))
}

// cut is the beginning of s, of at most n bytes.
func cut(s string, n int) string { return s[:min(n, len(s))] }

// serverPrefix begins each question of a server, of an ssh that Knows.
var serverPrefix = lazyregexp.New(`^\(([^()\s]+@[^()\s]+)\) `)

// ownQuestion is ssh's own for a password.
var ownQuestion = lazyregexp.New(`^([^\s']+@[^\s']+)'s password: $`)

// account returns the account that text, a question, is about; "": it says none.
func account(text string) string {
	for _, form := range []*lazyregexp.Regexp{serverPrefix, ownQuestion} {
		if m := form.FindStringSubmatch(text); m != nil {
			return m[1]
		}
	}
	return ""
}

// versions remembers what programs have said of themselves, by path.
var versions sync.Map

// versionOf returns what ssh -V says; "": nothing.
func versionOf(program string) string {
	path, err := exec.LookPath(program)
	if err != nil {
		return ""
	}
	if v, ok := versions.Load(path); ok {
		return v.(string)
	}
	out, _ := exec.Command(path, "-V").CombinedOutput()
	versions.Store(path, string(out))
	return string(out)
}

var version = lazyregexp.New(`OpenSSH_(?:for_Windows_)?(\d+)\.(\d+)`)

// knows tells by the version of an ssh whether it shows whose question it asks, if that is a
// server's.
func knows(text string) bool {
	m := version.FindStringSubmatch(text)
	if m == nil {
		return false
	}
	major, _ := strconv.Atoi(m[1])
	minor, _ := strconv.Atoi(m[2])
	return major > 8 || major == 8 && minor >= 9
}
