package hostile_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/hostile"
	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/internal/testpython"
)

// ground is a directory of the other user's, and one of root's that root must not be led to.
type ground struct {
	t      *testing.T
	theirs string
	roots  string
}

// newGround makes theirs/sub, which a link theirs/link can be exchanged for. Both have a file
// shadow and a directory inner.
func newGround(t *testing.T) *ground {
	t.Helper()
	lab.Need(t)
	dir, err := os.MkdirTemp("", "ground-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	g := &ground{t, filepath.Join(dir, "theirs"), filepath.Join(dir, "roots")}
	for _, place := range []string{filepath.Join(g.theirs, "sub"), g.roots} {
		g.must(os.MkdirAll(filepath.Join(place, "inner/deep"), 0o755))
		g.must(os.WriteFile(filepath.Join(place, "inner/deep/file"), []byte("kept"), 0o600))
		g.must(os.WriteFile(filepath.Join(place, "shadow"), []byte("secret"), 0o600))
	}
	g.must(os.Symlink(g.roots, filepath.Join(g.theirs, "link")))
	g.must(filepath.WalkDir(g.theirs, func(path string, _ fs.DirEntry, err error) error {
		hostile.Hand(t, path, lab.Other)
		return err
	}))
	g.must(os.Chmod(dir, 0o755))
	return g
}

func (g *ground) must(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

// state describes all that is in root's directory.
func (g *ground) state() string {
	g.t.Helper()
	var all []string
	g.must(filepath.WalkDir(g.roots, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		text := ""
		if d.Type().IsRegular() {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text = string(b)
		}
		all = append(all, fmt.Sprintf("%s %v %d %q", strings.TrimPrefix(path, g.roots), st.Mode(),
			st.Sys().(*syscall.Stat_t).Uid, text))
		return nil
	}))
	return strings.Join(all, "\n")
}

// untouched fails the test if something has changed since before.
func (g *ground) untouched(before, output string) {
	g.t.Helper()
	if after := g.state(); after != before {
		g.t.Errorf("root was led to its own directory: got\n%s\nwant\n%s\n%s", after, before, output)
	}
}

// victim runs root's operations and returns what they came to.
func (g *ground) victim(python, script string, args ...string) string {
	g.t.Helper()
	paths, ok := boot.Module("_mitogen_paths")
	if !ok {
		g.t.Fatal("the runtime has no module _mitogen_paths")
	}
	out, err := exec.Command(python,
		append([]string{"-c", string(paths) + "\n" + script, g.theirs}, args...)...).CombinedOutput()
	if err != nil {
		g.t.Fatalf("run the script: %v; output:\n%s", err, out)
	}
	return string(out)
}

// pythons are those that differ in how a link is read, and all of them in the long form.
func pythons() []testpython.Interp {
	all := testpython.Find()
	if hostile.Long() {
		return all
	}
	return slices.Compact([]testpython.Interp{all[0], all[len(all)-1]})
}

// A directory that another user exchanges for a link at any moment leads root nowhere.
func TestPathsRace(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	script, err := os.ReadFile("victim.py")
	if err != nil {
		t.Fatal(err)
	}
	for _, python := range pythons() {
		t.Run(python.Name(), func(t *testing.T) {
			g := newGround(t)
			before := g.state()
			s := hostile.Swap(t, filepath.Join(g.theirs, "sub"), filepath.Join(g.theirs, "link"))
			out := g.victim(python.Path, string(script), fmt.Sprint(hostile.Rounds(200, 3000)))
			s.Close(t)
			g.untouched(before, out)
			if strings.Count(out, "\n") != 8 {
				t.Errorf("got\n%s\nwant a line for each of 8 operations", out)
			}
			for line := range strings.Lines(out) {
				var name string
				var done, refused int
				if _, err := fmt.Sscan(line, &name, &done, &refused); err != nil || done == 0 ||
					refused == 0 && !strings.HasPrefix(name, "remove") {
					t.Errorf("%q: want an operation that was carried out and refused, %v", line, err)
				}
			}
		})
	}
}

// Links that stand still: whose are followed, and what else a name can be.
const still = `
def attempt_each(**all):
    for name in sorted(all):
        try:
            all[name]()
            print('%s: done' % name)
        except OSError:
            print('%s: %s' % (name, sys.exc_info()[1].strerror))

top = getattr(os, 'fsencode', str)(sys.argv[1]) + SLASH
at = lambda name: top + name.encode()
fill = lambda fd: os.write(fd, 'new'.encode())
close = lambda fd: os.close(fd)
attempt_each(
    theirs=lambda: close(writable(at('link/shadow'), 420)),
    theirs_last=lambda: close(writable(at('sub/last'), 420)),
    theirs_chmod=lambda: add_mode(64, at('sub/last')),
    theirs_replace=lambda: replace(at('link/shadow'), 420, fill),
    theirs_mkdir=lambda: make_dir(at('link/new')),
    second_write=lambda: close(writable(at('sub/second'), 420)),
    second_chmod=lambda: add_mode(64, at('sub/second')),
    pipe_write=lambda: close(writable(at('sub/pipe'), 420)),
    pipe_read=lambda: close(readable(at('sub/pipe'))),
    socket_chmod=lambda: add_mode(64, at('sub/socket')),
    mine=lambda: close(writable(at('mine/made'), 420)),
    mine_up=lambda: close(writable(at('up/made-up'), 420)),
    round=lambda: close(writable(at('round/x'), 420)),
    missing=lambda: close(writable(at('none/x'), 420)),
    file=lambda: close(writable(at('sub/shadow/x'), 420)),
    z_replaced=lambda: replace(at('sub/last'), 0, fill),
    suid=lambda: replace(at('sub/suid'), 0, fill),
    wide=lambda: replace(at('sub/wide'), 0, fill),
)
remove(at('link/inner'))
remove(at('sub/out'))
remove(at('sub/inner'))
`

// What a name of another user's leads to stays as it is; links of root's lead where they lead.
func TestPathsOfAnother(t *testing.T) {
	for _, python := range pythons() {
		t.Run(python.Name(), func(t *testing.T) {
			g := newGround(t)
			at := func(name string) string { return filepath.Join(g.theirs, name) }
			own := filepath.Join(filepath.Dir(g.roots), "own")
			g.must(os.Mkdir(own, 0o700))
			g.must(os.Link(filepath.Join(g.roots, "shadow"), at("sub/second")))
			g.must(syscall.Mkfifo(at("sub/pipe"), 0o666))
			g.must(syscall.Mknod(at("sub/socket"), syscall.S_IFSOCK|0o600, 0))
			for name, to := range map[string]string{"mine": own, "up": "../own", "round": "round"} {
				g.must(os.Symlink(to, at(name)))
			}
			for name, to := range map[string]string{"sub/last": filepath.Join(g.roots, "shadow"),
				"sub/out": g.roots, "sub/inner/out": g.roots} {
				g.must(os.Symlink(to, at(name)))
				hostile.Hand(t, at(name), lab.Other)
			}
			for name, mode := range map[string]os.FileMode{"sub/suid": 0o755 | os.ModeSetuid | os.ModeSetgid,
				"sub/wide": 0o777} {
				g.must(os.WriteFile(at(name), nil, 0o600))
				hostile.Hand(t, at(name), lab.Other)
				g.must(os.Chmod(at(name), mode))
			}
			before := g.state()
			uid := hostile.UID(t, lab.Other)
			out := g.victim(python.Path, still)
			g.untouched(before, out)
			link := fmt.Sprintf("a symbolic link of user %d is on the way", uid)
			want := map[string]string{
				"theirs": link, "theirs_last": link, "theirs_chmod": link, "theirs_replace": link,
				"theirs_mkdir": link,
				"second_write": "the file has a second name", "second_chmod": "the file has a second name",
				"pipe_write": "No such device or address", "pipe_read": "not a file",
				"socket_chmod": "not a file",
				"mine":         "done", "mine_up": "done", "round": "Too many levels of symbolic links",
				"missing": "No such file or directory",
				"file":    "Not a directory", "z_replaced": "done", "suid": "done", "wide": "done",
			}
			got := map[string]string{}
			for line := range strings.Lines(out) {
				name, text, _ := strings.Cut(strings.TrimSpace(line), ": ")
				got[name] = text
			}
			for name, text := range want {
				if got[name] != text {
					t.Errorf("%s: got %q, want %q", name, got[name], text)
				}
			}
			for _, name := range []string{"made", "made-up"} {
				if _, err := os.Stat(filepath.Join(own, name)); err != nil {
					t.Errorf("a link of root's is not followed: %v", err)
				}
			}
			for _, name := range []string{"sub/last", "sub/suid", "sub/wide"} {
				st, err := os.Lstat(at(name))
				g.must(err)
				if mode := st.Mode(); !mode.IsRegular() || mode.Perm()&0o022 != 0 ||
					mode&(os.ModeSetuid|os.ModeSetgid) != 0 {
					t.Errorf("%s was replaced with mode %v, want a file that only its owner can write to", name,
						mode)
				}
			}
			for _, name := range []string{"sub/out", "sub/inner"} {
				if _, err := os.Lstat(at(name)); err == nil {
					t.Errorf("remove: %s is still there, want it gone and what its links lead to kept", name)
				}
			}
		})
	}
}
