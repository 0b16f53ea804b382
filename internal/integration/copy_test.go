package integration

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	other "github.com/mitogen-go/mitogen/internal/hostile"
	"github.com/mitogen-go/mitogen/internal/lab"
)

// copySource is a tree that scp, rsync and a put are given.
func copySource(t *testing.T, dir string) string {
	t.Helper()
	src := filepath.Join(dir, "src")
	for name, data := range map[string]string{
		"x": "x", "empty": "", "a/new\nline": "n", "a/\xff": "bytes",
		"-r": "dash", "a b": "blank", "*": "star", "$HOME": "dollar",
		"a/b/large": strings.Repeat("large", 100_000), "zeros": string(make([]byte, 300_000)),
	} {
		file := filepath.Join(src, name)
		os.MkdirAll(filepath.Dir(file), 0o755)
		if err := os.WriteFile(file, []byte(data), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{src + "/x", src, dir} {
		if err := os.Chmod(name, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// rsync gives no directory its time that has the same second by chance.
	for i, name := range []string{"x", "a/b", "a/b/large", "a", "."} {
		ts := syscall.NsecToTimespec(int64(1e18 + 123456789 + i))
		if err := syscall.UtimesNano(filepath.Join(src, name), []syscall.Timespec{ts, ts}); err != nil {
			t.Fatal(err)
		}
	}
	return src
}

// copyListing lists what is in a tree, with owners and times as asked for.
func copyListing(t *testing.T, dir string, owners, exact bool) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, p)
		fmt.Fprintf(&b, "%q %v", name, st.Mode())
		if exact {
			fmt.Fprint(&b, " ", st.ModTime().UnixNano())
		}
		if owners {
			fmt.Fprint(&b, " ", st.Sys().(*syscall.Stat_t).Uid)
		}
		if d.Type().IsRegular() {
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %d %.20q", len(data), data)
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// A put and a get through ssh, and through sudo behind it, give the trees that rsync and scp give,
// and files belong to the account that wrote them.
func TestCopyBesideOriginals(t *testing.T) {
	l := lab.Need(t)
	e := engine(t, mitogen.Options{})
	o := mitogen.ConnectOptions{Options: connect.Options{SSH: connect.SSHOptions{
		ConfigFile: l.Config}}}
	for _, tt := range []struct{ target, owner string }{
		{lab.Free, lab.Free}, {lab.Free + "+sudo:" + lab.None, lab.None}, {lab.Free + "+sudo", "root"},
	} {
		t.Run(tt.target, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "copy-")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			src, dest := copySource(t, dir), filepath.Join(dir, "dest")
			os.Mkdir(dest, 0o755)
			other.Hand(t, dest, tt.owner)
			c := connected(t, e, tt.target, o)
			opt := mitogen.CopyOptions{Preserve: true, Failed: func(e *mitogen.FileError) { t.Error(e) }}
			if _, err := c.Put(t.Context(), dest+"/put", opt, src); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Get(t.Context(), dir+"/got", opt, dest+"/put"); err != nil {
				t.Fatal(err)
			}
			uid := fmt.Sprint(" ", other.UID(t, tt.owner))
			got := copyListing(t, dest+"/put", true, true)
			owned := strings.Count(got, uid+" ") + strings.Count(got, uid+"\n")
			if owned != strings.Count(got, "\n") {
				t.Errorf("got owners\n%swant%s", got, uid)
			}
			want := copyListing(t, src, false, true)
			for name, tree := range map[string]string{"put": dest + "/put", "get": dir + "/got"} {
				if got := copyListing(t, tree, false, true); got != want {
					t.Errorf("%s: got\n%swant\n%s", name, got, want)
				}
			}
			if tt.target != lab.Free {
				return
			}
			there := lab.Free + ":" + dest
			for name, argv := range map[string][]string{
				"rsync": {"rsync", "-a", "-e", "ssh -F " + l.Config, src + "/", there + "/rsync/"},
				"scp":   {"scp", "-q", "-F", l.Config, "-rp", src, there + "/scp"},
			} {
				if _, err := exec.LookPath(argv[0]); err != nil {
					continue
				}
				if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
					t.Fatalf("%s: got %v, want a copy\n%s", name, err, out)
				}
				exact := name == "rsync" // scp has whole seconds
				got, want := copyListing(t, dest+"/put", true, exact), ""
				if want = copyListing(t, dest+"/"+name, true, exact); got != want {
					t.Errorf("got\n%swant, as %s has it,\n%s", got, name, want)
				}
			}
		})
	}
}

// What the account may not do is an error of that file, and nothing is left of it.
func TestCopyRights(t *testing.T) {
	l := lab.Need(t)
	e := engine(t, mitogen.Options{})
	c := connected(t, e, lab.None, mitogen.ConnectOptions{Options: connect.Options{
		SSH: connect.SSHOptions{
			ConfigFile: l.Config}}})
	dir, err := os.MkdirTemp("", "copy-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	os.Chmod(dir, 0o755)
	for _, name := range []string{"theirs", "roots"} {
		os.MkdirAll(dir+"/"+name, 0o755)
		os.WriteFile(dir+"/"+name+"/secret", []byte("secret"), 0o600)
	}
	other.Hand(t, dir+"/theirs", lab.None)
	var told []string
	o := mitogen.CopyOptions{Failed: func(e *mitogen.FileError) {
		path := strings.TrimPrefix(e.Path, dir)
		told = append(told, fmt.Sprint(errors.Is(e, fs.ErrPermission), " ", path))
	}}
	for _, dest := range []string{"roots", "theirs", "theirs/secret"} {
		c.Put(t.Context(), dir+"/"+dest, o, dir+"/roots/secret")
	}
	c.Get(t.Context(), dir, o, dir+"/roots/secret")
	if got, want := strings.Join(told, ", "), "true secret, true /roots/secret"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, name := range []string{"roots", "theirs"} {
		if got, _ := os.ReadDir(dir + "/" + name); len(got) != 1 {
			t.Errorf("%s: got %v, want one file", name, got)
		}
	}
	os.MkdirAll(dir+"/closed/in", 0o755)
	other.Hand(t, dir+"/closed/in", lab.None)
	os.Chmod(dir+"/closed", 0o711) // which the account can't list
	fsys := fstest.MapFS{"x": {Data: []byte("x"), Mode: 0o644}}
	if _, err := c.PutFS(t.Context(), dir+"/closed/in", o, fsys, "x"); err != nil {
		t.Errorf("below a directory that can't be listed: got %v, want a copy", err)
	}
	st, err := os.Stat(dir + "/theirs/secret")
	if err != nil || int(st.Sys().(*syscall.Stat_t).Uid) != other.UID(t, lab.None) {
		t.Errorf("got %v, %v, want a file of the account's in place of root's", st, err)
	}
}

// A sync by root has users and groups as rsync -a has them, both ways, and one by another account
// what that may give.
func TestSyncOwners(t *testing.T) {
	l := lab.Need(t)
	e := engine(t, mitogen.Options{})
	o := mitogen.ConnectOptions{Options: connect.Options{SSH: connect.SSHOptions{
		ConfigFile: l.Config}}}
	for _, target := range []string{lab.Free + "+sudo", lab.None} {
		t.Run(target, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "copy-")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			src, dest := copySource(t, dir), filepath.Join(dir, "dest")
			os.Mkdir(dest, 0o755)
			other.Hand(t, dest, lab.None)
			os.Chmod(src+"/empty", 0o4755)
			other.Hand(t, src+"/a", lab.Other)
			other.Hand(t, src+"/x", lab.None)
			root := target != lab.None
			c := connected(t, e, target, o)
			opt := mitogen.SyncOptions{Failed: func(e *mitogen.FileError) { t.Errorf("got %v, want it", e) }}
			for i, want := range []int{10, 0} {
				n := 0
				opt.Changed = func(mitogen.SyncChange) { n++ }
				if _, err := c.SyncPut(t.Context(), dest+"/put", src+"/", opt); err != nil || n != want {
					t.Errorf("sync %d: got %d changes, %v, want %d", i, n, err, want)
				}
			}
			got, want := copyListing(t, dest+"/put", root, true), copyListing(t, src, root, true)
			if got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
			if _, err := c.SyncGet(t.Context(), dir+"/got", dest+"/put/", opt); err != nil {
				t.Fatal(err)
			}
			got = copyListing(t, dir+"/got", true, true)
			want = strings.Replace(copyListing(t, dest+"/put", true, true), "urwx", "-rwx", 1)
			if got != want {
				t.Errorf("get: got\n%swant\n%s", got, want)
			}
		})
	}
}
