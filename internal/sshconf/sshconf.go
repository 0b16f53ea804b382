// Package sshconf tells whether an ssh of this machine would go where it went before: a fingerprint
// of the files that its configuration comes from, of the keys that they name, and of the variables
// that they use.
//
// A fingerprint is of contents: a file that was touched, or replaced by an equal one, doesn't
// change it. Files are read again only when their status (device, inode, size, times) has changed,
// so that a fingerprint costs a few system calls. An included file is followed, whatever Host or
// Match section the Include stands in. So are names with wildcards, and files that aren't there
// yet. A directory's names are read again when its status has changed. So one system call says of
// all missing files of ~/.ssh that they are still missing.
//
// What no file tells is asked of ssh itself, each time: a Match with exec or localnetwork,
// canonical names. Files of known hosts aren't part of a fingerprint: as with ssh's own
// ControlMaster, a host's key is checked when a connection is made, and ssh writes to these files
// itself.
package sshconf

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// systemFile is read after the user's.
const systemFile = "/etc/ssh/ssh_config"

// maxDepth is ssh's limit of the depth of Include.
const maxDepth = 16

// A Query is an ssh that would be started.
type Query struct {
	Argv    []string                         // program and options, without host and command
	Host    string                           // as on the command line
	Env     func(name string) (string, bool) // nil: this process's environment
	Environ func() []string                  // of an ssh that is asked; nil: this process's
	// where relative names begin; "": this process's directory
	Dir string
}

// A Place identifies the destination of an ssh, as far as its configuration decides.
type Place struct {
	Sum      string // equal for the same place
	Relative bool   // it depends on the directory of the process, too

	// RemoteCommand says that the configuration sets one for some host, so that ssh knows the keyword.
	RemoteCommand bool
}

// Find returns where an ssh would lead now. It may be called by any goroutine.
func Find(ctx context.Context, q Query) Place {
	f := newFinder(q)
	f.start()
	if f.unsure {
		f.askSSH(ctx)
	}
	sum := sha256.Sum256(f.text)
	return Place{hex.EncodeToString(sum[:]), f.relative, f.command}
}

// Variables returns the names of the environment's variables that an ssh's configuration uses,
// sorted.
func Variables(q Query) []string {
	f := newFinder(q)
	f.keyless = true
	f.start()
	slices.Sort(f.variables)
	return slices.Compact(f.variables)
}

// finder goes through the files of one query.
type finder struct {
	q         Query
	home      string
	own       string          // ~/.ssh
	text      []byte          // of which the sum is the place's
	seen      map[string]bool // files that were read, and the directory of their names
	keys      map[string]bool
	listings  map[string]*listing
	variables []string
	unsure    bool
	relative  bool
	command   bool
	keyless   bool // keys don't matter
}

func newFinder(q Query) *finder {
	f := &finder{q: q, seen: map[string]bool{}, keys: map[string]bool{},
		listings: map[string]*listing{}}
	// ssh looks in the same directory; $HOME doesn't matter to it
	if me, err := user.Current(); err == nil {
		f.home = me.HomeDir
	}
	f.own = filepath.Join(f.home, ".ssh")
	if f.q.Env == nil {
		f.q.Env = os.LookupEnv
	}
	return f
}

// usualKeys are tried by an ssh that isn't told which.
var usualKeys = []string{"id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk",
	"id_xmss", "id_dsa"}

func (f *finder) start() {
	o := optionsOf(f.q.Argv[1:])
	f.options(o, f.own)
	switch file := o.file; {
	case strings.EqualFold(file, "none"):
	case file != "":
		f.file(f.absolute(file), f.own, 0)
	default:
		f.file(filepath.Join(f.own, "config"), f.own, 0)
		f.file(systemFile, filepath.Dir(systemFile), 0)
	}
	for _, name := range usualKeys {
		f.key(filepath.Join(f.own, name))
	}
	for _, name := range slices.Sorted(slices.Values(f.variables)) {
		value, set := f.q.Env(name)
		f.add("variable", name, strconv.AppendBool(nil, set))
		f.add("value", value, nil)
	}
}

// add adds what a kind of thing, which has a name, is now.
func (f *finder) add(kind, name string, now []byte) {
	f.text = append(append(f.text, kind...), ' ')
	f.text = append(strconv.AppendQuote(f.text, name), ' ')
	f.text = append(append(f.text, now...), '\n')
}

// file adds a file. dir is where relative names of included ones begin.
func (f *finder) file(name, dir string, depth int) {
	c := f.content(name)
	f.add("file", name, c.sum[:])
	if f.seen[name] || depth > maxDepth {
		return
	}
	f.seen[name] = true
	f.follow(c, dir, depth)
}

func (f *finder) include(pattern, dir string, depth int) {
	pattern, ok := f.expand(pattern)
	if !ok {
		f.unsure = true
		return
	}
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join(dir, pattern)
	}
	names, ok := f.glob(pattern)
	if !ok {
		var err error
		names, err = filepath.Glob(pattern)
		f.unsure = f.unsure || err != nil
	}
	f.add("include", pattern, strconv.AppendInt(nil, int64(len(names)), 10))
	for _, name := range names {
		f.file(name, dir, depth+1)
	}
}

// key adds the contents of a private key, and of what belongs to it. What can't be expanded isn't
// followed.
func (f *finder) key(name string) {
	if f.keyless {
		return
	}
	name, ok := f.expand(name)
	if !ok || strings.EqualFold(name, "none") {
		return
	}
	name = f.absolute(name)
	if f.keys[name] {
		return
	}
	f.keys[name] = true
	for _, suffix := range []string{"", ".pub", "-cert.pub"} {
		f.add("key", name+suffix, f.content(name + suffix).sum[:])
	}
}

// options adds what the arguments name.
func (f *finder) options(o arguments, dir string) {
	for _, k := range o.keys {
		f.key(k)
	}
	f.follow(parse(strings.Join(o.lines, "\n")), dir, 0)
}

// follow adds what c names.
func (f *finder) follow(c *content, dir string, depth int) {
	f.unsure, f.relative, f.command = f.unsure || c.unsure, f.relative || c.relative, f.command ||
		c.command
	f.variables = append(f.variables, c.variables...)
	for _, k := range c.keys {
		f.key(k)
	}
	for _, pattern := range c.includes {
		f.include(pattern, dir, depth)
	}
}

// absolute returns name as it is for a process in the query's directory.
func (f *finder) absolute(name string) string {
	if !filepath.IsAbs(name) && f.q.Dir != "" {
		return filepath.Join(f.q.Dir, name)
	}
	return name
}

// expand replaces what ssh does: ~, variables, %d and %%. ok is false where there is more.
func (f *finder) expand(name string) (expanded string, ok bool) {
	if rest, own := strings.CutPrefix(name, "~/"); own {
		name = filepath.Join(f.home, rest)
	}
	for {
		before, rest, found := strings.Cut(name, "${")
		if !found {
			break
		}
		variable, after, closed := strings.Cut(rest, "}")
		value, set := f.q.Env(variable)
		if !closed || !set {
			return name, false
		}
		name = before + value + after
	}
	if strings.Contains(name, "%") {
		name = strings.NewReplacer("%%", "\x00", "%d", f.home).Replace(name)
	}
	if strings.Contains(name, "%") || strings.HasPrefix(name, "~") {
		return name, false
	}
	return strings.ReplaceAll(name, "\x00", "%"), true
}

// askSSH adds what ssh says of the host.
func (f *finder) askSSH(ctx context.Context) {
	args := append([]string{"-G"}, f.q.Argv[1:]...)
	cmd := exec.CommandContext(ctx, f.q.Argv[0], append(args, "--", f.q.Host)...)
	cmd.Dir = f.q.Dir
	if f.q.Environ != nil {
		cmd.Env = f.q.Environ()
	}
	out, err := cmd.Output()
	f.add(fmt.Sprintf("ssh -G %v", err), string(out), nil)
}
