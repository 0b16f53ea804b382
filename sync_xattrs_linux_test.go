package mitogen_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mitogen-go/mitogen"
)

// setXattrs gives files below dir attributes, by "FILE NAME".
func setXattrs(t *testing.T, dir string, all map[string]string) {
	t.Helper()
	for key, value := range all {
		i := strings.LastIndex(key, " ")
		file, name := key[:i], key[i+1:]
		err := unix.Setxattr(filepath.Join(dir, file), name, []byte(value), 0)
		if errors.Is(err, unix.ENOTSUP) {
			t.Skip("the file system has no extended attributes")
		} else if err != nil {
			t.Fatal(key, err)
		}
	}
}

// listXattrs lists the attributes of all below dir, but for those of the system's policies.
func listXattrs(t *testing.T, dir string) string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		buf := make([]byte, 64<<10)
		n, err := unix.Llistxattr(p, buf)
		if err != nil {
			return err
		}
		file, _ := filepath.Rel(dir, p)
		for _, name := range strings.FieldsFunc(string(buf[:n]), func(c rune) bool { return c == 0 }) {
			value := make([]byte, 64<<10)
			n, err := unix.Lgetxattr(p, name, value)
			if err != nil {
				return err
			}
			lines = append(lines, fmt.Sprintf("%s %s %.40q %d", file, name, value[:n], n))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// Extended attributes become those of the source, as with rsync -X, and a second sync changes
// nothing.
func TestSyncXattrs(t *testing.T) {
	if _, err := exec.LookPath("rsync"); err != nil {
		t.Skip("there is no rsync")
	}
	c := connected(t, newEngine(t, mitogen.Options{}), mitogen.ConnectOptions{})
	root := t.TempDir()
	old := time.Unix(1e9, 0)
	large := strings.Repeat("large", 100_000)
	tree1 := map[string]string{"new": "new", "same": "same", "less": "less", "more": "more",
		"other": "other", "read only": "r", "d/x": "x", "large": large + "new", "none": "none",
		"link -> same": "", "ünï": "u"}
	src := filepath.Join(root, "src")
	write(t, src, tree1)
	setXattrs(t, src, map[string]string{"new user.a": "1", "same user.a": "1", "more user.a": "1",
		"more user.b": "\x00\xff\n", "other user.a": "new", "read only user.a": "1", "d user.d": "dir",
		"large user.a": strings.Repeat("v", 3000), "d/x user.ünï": "",
		"ünï user.a": "1", ". user.top": "t"})
	ways := syncWays(c)
	for _, way := range []string{"rsync", "put", "get"} {
		dest := filepath.Join(root, way)
		before := map[string]string{"large": large}
		for name, data := range tree1 {
			if name != "new" && name != "large" {
				before[name] = data
			}
		}
		write(t, dest, before)
		setXattrs(t, dest, map[string]string{"same user.a": "1", "less user.a": "1", "less user.b": "2",
			"more user.a": "1", "other user.a": "old", "d user.e": "gone"})
		for _, name := range []string{src, dest} {
			for file := range before {
				if !strings.Contains(file, "->") && file != "large" {
					os.Chtimes(filepath.Join(name, file), old, old)
				}
			}
			os.Chmod(filepath.Join(name, "read only"), 0o444)
		}
		if way == "rsync" {
			out, err := exec.Command("rsync", "-aX", src+"/", dest+"/").CombinedOutput()
			if err != nil {
				t.Fatalf("rsync: got %v\n%s", err, out)
			}
			continue
		}
		o := mitogen.SyncOptions{Xattrs: true, DryRun: true}
		planned := synced(t, ways[way], dest, src+"/", o)
		o.DryRun = false
		got := synced(t, ways[way], dest, src+"/", o)
		want := []string{"d/x", "large", "less", "more", "new", "other", "read only", "ünï"}
		if !slices.Equal(got, want) || !slices.Equal(planned, want) {
			t.Errorf("%s: got changes %q, planned %q, want %q", way, got, planned, want)
		}
		if got, want := listXattrs(t, dest), listXattrs(t, filepath.Join(root, "rsync")); got != want {
			t.Errorf("%s: got attributes\n%s\nwant, as by rsync,\n%s", way, got, want)
		}
		if got, want := tree(t, dest, true), tree(t, src, true); got != want {
			t.Errorf("%s: got\n%swant\n%s", way, got, want)
		}
		if got := synced(t, ways[way], dest, src+"/", o); len(got) > 0 {
			t.Errorf("%s: got %q changed by a second sync, want nothing", way, got)
		}
		setXattrs(t, dest, map[string]string{"same user.kept": "k"})
		if got := synced(t, ways[way], dest, src+"/", mitogen.SyncOptions{}); len(got) > 0 {
			t.Errorf("%s: got %q changed by a sync without attributes, want nothing", way, got)
		}
	}
}

// Root's attributes, which give programs rights, go from root to root, as with rsync -X, and a file
// that another account may have written doesn't get them. They don't come from a target.
func TestSyncRootXattrs(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("for root")
	}
	c := connected(t, newEngine(t, mitogen.Options{}), mitogen.ConnectOptions{})
	const capability = "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00" +
		"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	for way, do := range syncWays(c) {
		src, dest := t.TempDir(), t.TempDir()
		old := time.Unix(1e9, 0)
		for dir, data := range map[string]string{src: "good", dest: "evil"} {
			write(t, dir, map[string]string{"program": data})
			os.Chtimes(dir+"/program", old, old)
		}
		setXattrs(t, src, map[string]string{"program security.capability": capability,
			"program trusted.x": "1"})
		synced(t, do, dest, src+"/", mitogen.SyncOptions{Xattrs: true})
		got, _ := os.ReadFile(dest + "/program")
		have, want := listXattrs(t, dest), listXattrs(t, src)
		if way == "get" {
			want = ""
		} else if string(got) != "good" {
			t.Errorf("%s: got %q with rights, want the source's bytes", way, got)
		}
		if have != want {
			t.Errorf("%s: got attributes\n%s\nwant\n%s", way, have, want)
		}
	}
}
