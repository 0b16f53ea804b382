package mitogen_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/mitogen-go/mitogen"
)

// write makes files below dir: "NAME/" is a directory, "NAME -> TO" a link.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, data := range files {
		link, to, isLink := strings.Cut(name, " -> ")
		file := filepath.Join(dir, link)
		err := os.MkdirAll(filepath.Dir(file), 0o755)
		switch {
		case err != nil:
		case isLink:
			err = os.Symlink(to, file)
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(file, 0o755)
		default:
			err = os.WriteFile(file, []byte(data), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// tree lists what is below dir: contents, modes, links, and with times when each was changed.
func tree(t *testing.T, dir string, times bool) string {
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
		if times && d.Type() != fs.ModeSymlink {
			fmt.Fprintf(&b, " %d", st.ModTime().UnixNano())
		}
		switch d.Type() {
		case 0:
			data, _ := os.ReadFile(p)
			fmt.Fprintf(&b, " %d %.40q", len(data), data)
		case fs.ModeSymlink:
			to, _ := os.Readlink(p)
			fmt.Fprintf(&b, " %q", to)
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// odd is a tree with names, sizes, modes and times of many kinds.
func odd(t *testing.T) string {
	dir := filepath.Join(t.TempDir(), "top")
	write(t, dir, map[string]string{
		"file": "data", "nothing": "", "-rf": "dash", " ": "blank", "new\nline": "x",
		"\xff\xfe": "no UTF-8", "zeros": string(make([]byte, 1<<20)),
		"a/b/c/deep": "deep", "none/": "", ".hidden/.x": "dots", strings.Repeat("n", 255): "long",
		"piece": strings.Repeat("p", 64<<10), "more": strings.Repeat("m", 64<<10+1),
		"link -> file": "", "a/dangling -> nowhere": "", "a/dir -> b": "", "ünï/ç": "é",
	})
	for i, name := range []string{"file", "a/b", "none", "-rf", "more", "a"} {
		p := filepath.Join(dir, name)
		mode := []fs.FileMode{0o751, 0o500, 0o711, 0o400, 0o666, 0o755}[i]
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(p, time.Time{}, time.Unix(int64(1e9+i), 123456789)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// copied copies by put, and then by get.
func copied(t *testing.T, c *mitogen.Context, o mitogen.CopyOptions, dest, src string) {
	t.Helper()
	_, byPut := c.Put(limited(t), dest+"/put", o, src)
	_, byGet := c.Get(limited(t), dest+"/get", o, src)
	if err := errors.Join(byPut, byGet); err != nil {
		t.Fatal(err)
	}
}

// directions are both directions of a copy, by name.
func directions(c *mitogen.Context) map[string]way {
	return map[string]way{"put": c.Put, "get": c.Get}
}

type way func(context.Context, string, mitogen.CopyOptions, ...string) (mitogen.CopyTotals, error)

// A tree arrives as it is, both ways, and over what is there.
func TestCopyTree(t *testing.T) { onEach(t, mitogen.Options{}, testCopyTree) }

func testCopyTree(t *testing.T, c *mitogen.Context) {
	for _, preserve := range []bool{true, false} {
		src, dest := odd(t), t.TempDir()
		want := tree(t, src, preserve)
		o := mitogen.CopyOptions{Preserve: preserve, Sparse: preserve}
		o.Failed = func(e *mitogen.FileError) { t.Errorf("got %v, want it copied", e) }
		umask := strings.NewReplacer("rw-rw-rw-", "rw-r--r--")
		for _, over := range []string{"", "/top"} { // the second time the name is there already
			copied(t, c, o, dest, src)
			for _, name := range []string{"put", "get"} {
				got := tree(t, filepath.Join(dest, name+over), preserve)
				if !preserve {
					got, want = umask.Replace(got), umask.Replace(want)
				}
				if got != want {
					t.Errorf("preserve %v, %s: got\n%swant\n%s", preserve, name, got, want)
				}
				os.RemoveAll(filepath.Join(dest, name))
				write(t, dest+"/"+name, map[string]string{"top/.hidden/.x": "another",
					"top/more": "another", "top/link -> none": ""})
				os.Chmod(filepath.Join(dest, name, "top/more"), 0o666)
			}
		}
	}
}

// Where files go is as with cp: into a directory that is there, else by the name.
func TestCopyDestinations(t *testing.T) { onEach(t, mitogen.Options{}, testCopyDestinations) }

func testCopyDestinations(t *testing.T, c *mitogen.Context) {
	for name, tt := range map[string]struct {
		dest string
		src  []string
		want []string // files
		fail bool
	}{
		"into a directory":        {"d", []string{"x"}, []string{"d/x"}, false},
		"into one with a slash":   {"d/", []string{"x"}, []string{"d/x"}, false},
		"to a name":               {"d/new", []string{"x"}, []string{"d/new"}, false},
		"over a file":             {"d/old", []string{"x"}, []string{"d/old"}, false},
		"a directory to a name":   {"d/new", []string{"e"}, []string{"d/new/y", "d/new/f/z"}, false},
		"a directory into one":    {"d", []string{"e"}, []string{"d/e/y", "d/e/f/z"}, false},
		"with a slash":            {"d", []string{"e/"}, []string{"d/e/y"}, false},
		"what is in one":          {"d", []string{"e/."}, []string{"d/y", "d/f/z"}, false},
		"two":                     {"d", []string{"x", "e"}, []string{"d/x", "d/e/y"}, false},
		"a link":                  {"d", []string{"l"}, []string{"d/l"}, false},
		"a link to a directory":   {"d/new", []string{"le"}, []string{"d/new/y"}, false},
		"into a link":             {"ld", []string{"x"}, []string{"d/x"}, false},
		"two to a name":           {"d/new", []string{"x", "e"}, nil, true},
		"to a name with a slash":  {"d/new/", []string{"x"}, nil, true},
		"without a directory":     {"no/new", []string{"x"}, nil, true},
		"what there isn't":        {"d", []string{"no"}, nil, true},
		"one that is, and not":    {"d", []string{"no", "x"}, []string{"d/x"}, true},
		"a directory over a file": {"d/old", []string{"e"}, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			for way, do := range directions(c) {
				dir := t.TempDir()
				write(t, dir, map[string]string{"x": "x", "e/y": "y", "e/f/z": "z", "d/old": "old",
					"l -> x": "", "le -> e": "", "ld -> d": ""})
				src := []string{}
				for _, s := range tt.src {
					src = append(src, dir+"/"+s)
				}
				told := []string{}
				o := mitogen.CopyOptions{}
				o.Failed = func(e *mitogen.FileError) { told = append(told, e.Error()) }
				_, err := do(limited(t), dir+"/"+tt.dest, o, src...)
				if (err != nil) != tt.fail {
					t.Errorf("%s: got %v, told %q, want an error: %v", way, err, told, tt.fail)
				}
				for _, file := range tt.want {
					b, err := os.ReadFile(filepath.Join(dir, file))
					if err != nil || len(b) != 1 {
						t.Errorf("%s: got %q, %v in %s, want it copied", way, b, err, file)
					}
				}
				if b, err := os.ReadFile(dir + "/d/old"); string(b) != "old" && name != "over a file" {
					t.Errorf("%s: got %q, %v in the old file", way, b, err)
				}
				if left := tree(t, dir, false); strings.Contains(left, ".mitogen-") {
					t.Errorf("%s: a part of a file is left:\n%s", way, left)
				}
			}
		})
	}
}

// A file that can't be copied is told of, and all else is copied.
func TestCopyFailures(t *testing.T) { onEach(t, mitogen.Options{}, testCopyFailures) }

func testCopyFailures(t *testing.T, c *mitogen.Context) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"src/a/x": "new", "src/b": "new", "src/c/y": "new",
		"src/d": "new", "out/kept": "old"})
	syscall.Mkfifo(dir+"/src/pipe", 0o600)
	for way, do := range directions(c) {
		dest := filepath.Join(dir, way)
		write(t, dest, map[string]string{"src/b/": "", "src/a -> ../../out": "", "src/c": "old",
			"src/z": "kept"})
		told, o := []string{}, mitogen.CopyOptions{}
		o.Failed = func(e *mitogen.FileError) {
			told = append(told, strings.TrimPrefix(e.Path, dir+"/"))
		}
		totals, err := do(limited(t), dest, o, dir+"/src")
		slices.Sort(told)
		want := []string{"src/a", "src/b", "src/c", "src/pipe"}
		if !errors.Is(err, mitogen.ErrIncomplete) || !slices.Equal(told, want) || totals.Failed != 4 {
			t.Errorf("%s: got %v, %q, %+v, want %q", way, err, told, totals, want)
		}
		if b, _ := os.ReadFile(dest + "/src/d"); string(b) != "new" {
			t.Errorf("%s: got %q, want the last file copied", way, b)
		}
		got := tree(t, dir+"/out", false)
		if strings.Count(got, "\n") != 2 || !strings.Contains(got, "old") {
			t.Errorf("%s: got, through a link,\n%s", way, got)
		}
	}
}

// Errors can be tested for, on whichever side they are.
func TestCopyErrors(t *testing.T) { onEach(t, mitogen.Options{}, testCopyErrors) }

func testCopyErrors(t *testing.T, c *mitogen.Context) {
	dir := t.TempDir()
	for _, do := range directions(c) {
		var told error
		o := mitogen.CopyOptions{Failed: func(e *mitogen.FileError) { told = e }}
		do(limited(t), dir, o, dir+"/no")
		if !errors.Is(told, fs.ErrNotExist) {
			t.Errorf("got %v, want %v", told, fs.ErrNotExist)
		}
	}
}

// Patterns are for the target, and a file of that name comes first.
func TestGetPatterns(t *testing.T) { onEach(t, mitogen.Options{}, testGetPatterns) }

func testGetPatterns(t *testing.T, c *mitogen.Context) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"src/a.log": "a", "src/b.log": "b", "src/c": "c",
		"src/[ab].log": "named", "d/": "", "e/": ""})
	for pattern, want := range map[string]string{"src/*.log": "[ab].log a.log b.log",
		"src/[ab].log": "[ab].log", "src/[!ab]": "c", "s*/?": "c"} {
		dest := t.TempDir()
		if _, err := c.Get(limited(t), dest, mitogen.CopyOptions{}, dir+"/"+pattern); err != nil {
			t.Errorf("%s: got %v, want files", pattern, err)
		}
		got := []string{}
		entries, _ := os.ReadDir(dest)
		for _, e := range entries {
			got = append(got, e.Name())
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %q, want %s", pattern, got, want)
		}
	}
}

// Files of a program are put, too.
func TestPutFS(t *testing.T) { onEach(t, mitogen.Options{}, testPutFS) }

func testPutFS(t *testing.T, c *mitogen.Context) {
	dest := t.TempDir()
	fsys := fstest.MapFS{"a/x": {Data: []byte("x"), Mode: 0o600},
		"y": {Data: bytes.Repeat([]byte("y"), 1<<20), Mode: 0o644}}
	var last mitogen.CopyTotals
	o := mitogen.CopyOptions{Progress: func(p mitogen.CopyTotals) { last = p }}
	totals, err := c.PutFS(limited(t), dest, o, fsys, "a", "y")
	if err != nil || totals.Files != 2 || totals.Bytes != 1<<20+1 || last.Bytes != totals.Bytes {
		t.Errorf("got %+v, %v, last %+v, want 2 files", totals, err, last)
	}
	if b, err := os.ReadFile(dest + "/a/x"); string(b) != "x" {
		t.Errorf("got %q, %v, want x", b, err)
	}
}

// Whenever a copy is given up, the file is the old one or the new one, and no part of it is left.
func TestCopyInterrupted(t *testing.T) { onEach(t, mitogen.Options{}, testCopyInterrupted) }

func testCopyInterrupted(t *testing.T, c *mitogen.Context) {
	dir := t.TempDir()
	t.Cleanup(func() { // a copy that was given up may be on its way to the context still
		c.Close()
		<-c.Done()
	})
	before, after := bytes.Repeat([]byte("old"), 1<<20), bytes.Repeat([]byte("newer"), 1<<20)
	rng := rand.New(rand.NewPCG(1, 2))
	for way, do := range directions(c) {
		for range 8 {
			src, dest := filepath.Join(dir, "src"), filepath.Join(dir, "dest-"+way)
			os.WriteFile(src, after, 0o644)
			os.Mkdir(dest, 0o755)
			os.WriteFile(dest+"/src", before, 0o644)
			stop := 1 + rng.Int64N(int64(len(after)))
			ctx, cancel := context.WithCancel(limited(t))
			_, err := do(ctx, dest, mitogen.CopyOptions{Progress: func(p mitogen.CopyTotals) {
				if p.Bytes >= stop {
					cancel()
				}
			}}, src)
			cancel()
			got, _ := os.ReadFile(dest + "/src")
			if !bytes.Equal(got, before) && !bytes.Equal(got, after) {
				t.Errorf("%s: got %d bytes, %v, want the old file or the new one", way, len(got), err)
			}
			if err == nil && !bytes.Equal(got, after) {
				t.Errorf("%s: got no error and the old file", way)
			}
			left := func() error {
				for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
					if entries, _ := os.ReadDir(dest); len(entries) == 1 {
						return nil
					}
				}
				return errors.New("a part of the file is left")
			}
			if err := left(); err != nil {
				t.Errorf("%s: got %v, want nothing left", way, err)
			}
		}
	}
}

// A disk that is full costs the files that have no room, and nothing of the old ones.
func TestCopyFullDisk(t *testing.T) { onEach(t, mitogen.Options{}, testCopyFullDisk) }

func testCopyFullDisk(t *testing.T, c *mitogen.Context) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	dest := t.TempDir()
	mount := exec.Command("mount", "-t", "tmpfs", "-o", "size=512k", "none", dest)
	if out, err := mount.CombinedOutput(); err != nil {
		t.Skipf("mount: %s", out)
	}
	defer exec.Command("umount", dest).Run()
	src := t.TempDir()
	write(t, src, map[string]string{"a-large": strings.Repeat("x", 1<<20), "b-small": "new"})
	for _, do := range directions(c) {
		write(t, dest, map[string]string{"a-large": "old"})
		var told []error
		o := mitogen.CopyOptions{Failed: func(e *mitogen.FileError) { told = append(told, e) }}
		do(limited(t), dest, o, src+"/a-large", src+"/b-small")
		if len(told) != 1 || !errors.Is(told[0], syscall.ENOSPC) {
			t.Errorf("got %v, want %v", told, syscall.ENOSPC)
		}
		got := tree(t, dest, false)
		both := strings.Contains(got, "old") && strings.Contains(got, "new")
		if !both || strings.Count(got, "\n") != 3 {
			t.Errorf("got\n%swant an old file, a new one, and nothing else", got)
		}
		os.Remove(dest + "/b-small")
	}
}

// New bytes don't get the set-user-ID bit that the old file had.
func TestCopyOverSetUserID(t *testing.T) { onEach(t, mitogen.Options{}, testCopyOverSetUserID) }

func testCopyOverSetUserID(t *testing.T, c *mitogen.Context) {
	for way, do := range directions(c) {
		src, dest := t.TempDir()+"/file", t.TempDir()+"/file"
		write(t, "/", map[string]string{src: "new", dest: "old"})
		if err := os.Chmod(dest, 0o751|fs.ModeSetuid|fs.ModeSetgid); err != nil {
			t.Fatal(err)
		}
		if _, err := do(limited(t), dest, mitogen.CopyOptions{}, src); err != nil {
			t.Fatal(err)
		}
		if st, err := os.Stat(dest); err != nil || st.Mode() != 0o751 {
			t.Errorf("%s: got %v, %v, want a mode of 751 alone", way, st.Mode(), err)
		}
	}
}

// A new directory has the set-group-ID bit of the one above it, as if mkdir had made it.
func TestCopyInheritsGroup(t *testing.T) { onEach(t, mitogen.Options{}, testCopyInheritsGroup) }

func testCopyInheritsGroup(t *testing.T, c *mitogen.Context) {
	for way, do := range directions(c) {
		src, dest := t.TempDir()+"/top", t.TempDir()
		write(t, src, map[string]string{"below/file": "x"})
		if err := os.Chmod(dest, 0o755|fs.ModeSetgid); err != nil {
			t.Fatal(err)
		}
		if _, err := do(limited(t), dest, mitogen.CopyOptions{}, src); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"/top", "/top/below"} {
			st, err := os.Stat(dest + name)
			if err != nil || st.Mode() != 0o755|fs.ModeSetgid|fs.ModeDir {
				t.Errorf("%s of %s: got %v, %v, want a mode of 2755", way, name, st.Mode(), err)
			}
		}
	}
}

// A device, pipe or socket that is named as the destination stays what it is.
func TestCopySparesSpecial(t *testing.T) {
	onEach(t, mitogen.Options{}, testCopySparesSpecial)
}

func testCopySparesSpecial(t *testing.T, c *mitogen.Context) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"file": "text"})
	pipe, socket := filepath.Join(dir, "pipe"), filepath.Join(dir, "socket")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	places := []string{pipe, socket}
	device := filepath.Join(dir, "device")
	if syscall.Mknod(device, syscall.S_IFCHR|0o666, 1<<8|3) == nil {
		places = append(places, device)
	}
	file := filepath.Join(dir, "file")
	for _, at := range places {
		before, _ := os.Lstat(at)
		for _, o := range []mitogen.CopyOptions{{}, {Preserve: true}} {
			if _, err := c.Put(t.Context(), at, o, file); err == nil {
				t.Errorf("put %s: got no error", filepath.Base(at))
			}
			if _, err := c.Get(t.Context(), at, o, file); err == nil {
				t.Errorf("get %s: got no error", filepath.Base(at))
			}
		}
		if after, err := os.Lstat(at); err != nil || !os.SameFile(before, after) {
			t.Errorf("%s: got %v, %v, want it as it was", filepath.Base(at), after, err)
		}
	}
}
