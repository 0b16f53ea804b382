package ownfile

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/testpython"
)

// begun is the first record of a conversation.
func begun(kind byte, flags Flags, dest string) []byte {
	return record(kind, binary.BigEndian.AppendUint32(nil, uint32(flags)), []byte(dest))
}

// inPython runs a copy's module on each of several Pythons, behind a preamble. It returns the
// records of each answer, as kind, colon and payload.
func inPython(
	t *testing.T,
	module, preamble, dir string,
	do func(got []string),
	records ...[]byte,
) {
	t.Helper()
	source, _ := boot.Module("_mitogen_" + module)
	for _, p := range testpython.Sample(t.Name()) {
		cmd := exec.Command(p.Path, "-c", preamble+"\n"+string(source))
		cmd.Dir, cmd.Stdin = dir, bytes.NewReader(bytes.Join(records, nil))
		var said strings.Builder
		cmd.Stderr = &said
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("%s: got %v, %s, want the end", p.Name(), err, said.String())
			continue
		}
		do(recordTexts(bytes.NewReader(out)))
	}
}

// recordTexts returns records as text.
func recordTexts(from io.Reader) (texts []string) {
	for rd := newReader(from); ; {
		kind, b, err := rd.next()
		if err != nil {
			return texts
		}
		texts = append(texts, string(kind)+":"+string(b))
	}
}

// answered demands answers of a context.
func answered(t *testing.T, want ...string) func([]string) {
	return func(got []string) {
		t.Helper()
		if strings.Join(got, ", ") != strings.Join(want, ", ") {
			t.Errorf("got answers %q, want %q", got, want)
		}
	}
}

// A user whom the target doesn't know isn't an error: files keep the number.
func TestUnknownOwners(t *testing.T) {
	inPython(t, "syncput", "", t.TempDir(), answered(t, "E:", ".:"),
		begun(kindSyncPut, Owners|Preserve, "."),
		record(kindUser, []byte("u\x00\x00\x00\x07no such user")),
		record(kindGroup, []byte("g\x00\x00\x00\x07no such group")),
		record(kindUser, []byte("u\x00\x00\x00\x08\xff\xfe")), record(kindAsked), done)
}

// A directory has its mode from the beginning, so that a copy that breaks off doesn't close it.
func TestDirectoryModes(t *testing.T) {
	const interrupted = "import os\ndef no(*more): raise OSError(1, 'no')\nos.chmod = no"
	root := t.TempDir()
	other := filepath.Join(root, "other")
	if err := os.Mkdir(other, 0o755); err != nil {
		t.Fatal(err)
	}
	want, err := os.Stat(other)
	if err != nil {
		t.Fatal(err)
	}
	inPython(t, "put", interrupted, root, func([]string) {
		st, err := os.Stat(filepath.Join(root, "top"))
		if err != nil || st.Mode() != want.Mode() {
			t.Errorf("got %v, %v, want a mode of %v", st, err, want.Mode())
		}
		os.Remove(filepath.Join(root, "top"))
	}, begun(kindPut, Into, "."), dir("top"), done)
}

// A huge file that another account has planted isn't read.
func TestPlantedFile(t *testing.T) {
	root := t.TempDir()
	for name, size := range map[string]int64{"huge": 64 << 20, "large": 100_000} {
		if err := os.WriteFile(filepath.Join(root, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(filepath.Join(root, name), size); err != nil {
			t.Fatal(err)
		}
	}
	inPython(t, "syncput", "", root, func(got []string) {
		if len(got) != 4 || len(got[0]) != len("n:")+4 || len(got[1]) != len("n:")+4+4+24*8 {
			t.Errorf("got answers %q, want no sums of the first, 24 of the second", got)
		}
	}, begun(kindSyncPut, Preserve, "."), question("huge", 90_000), question("large", 90_000),
		record(kindAsked), done)
}

// A file that another account has grow while its sums are taken gets no more of them than a record
// holds: the sync goes on.
func TestGrowingFile(t *testing.T) {
	const grown = `import os
opened = os.open
def grown(name, *more):
    fd = opened(name, *more)
    if name == 'x'.encode():
        f = open('x', 'r+b')
        f.truncate(4 << 20)
        f.close()
    return fd
os.open = grown`
	root := t.TempDir()
	reset := func() {
		t.Helper()
		if err := os.WriteFile(filepath.Join(root, "x"), make([]byte, 100_000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	reset()
	inPython(t, "syncput", grown, root, func(got []string) {
		reset()
		if len(got) != 3 || len(got[0]) != len("n:")+4+4+24*8 {
			t.Errorf("got answers %.300q, want sums of 24 blocks, and the end", got)
		}
	}, begun(kindSyncPut, Preserve, "."), question("x", 90_000), record(kindAsked), done)
	for block, want := range map[uint32]int{16: 4, 256: 4 + attrSize + 8 + digestSize + 4 + 1<<14*8} {
		inPython(t, "syncget", grown, root, func(got []string) {
			reset()
			last := len(got) - 2
			if last < 0 || got[last][0] != kindSumsOf || len(got[last]) != len("v:")+want {
				t.Errorf("blocks of %d bytes: got answers %.300q, want one of %d bytes, and the end",
					block, got, want)
			}
		}, begun(kindSyncGet, Preserve, "."), record(kindSums, u32(0), u32(block)), done)
	}
}

// A file that can't be understood is a failure of that file.
func TestOddQuestion(t *testing.T) {
	inPython(t, "syncput", "", t.TempDir(), func(got []string) {
		if len(got) != 4 || got[0][0] != '!' || got[1] != "n:\x00\x00\x00\x01" {
			t.Errorf("got answers %q, want a failure, a need and the end", got)
		}
	}, begun(kindSyncPut, Preserve, "."), record(kindQuestion, attr(0o644)), question("x", 3),
		record(kindAsked), done)
}

// An old Python that has no SHA-256, or gives attributes by names, says so or does without.
func TestOldPythons(t *testing.T) {
	root := t.TempDir()
	file := filepath.Join(root, "file")
	if err := os.WriteFile(file, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	when := time.Unix(1234567890, 123456789) // attr's
	if err := os.Chtimes(file, when, when); err != nil {
		t.Fatal(err)
	}
	const byName = "import sys\nsys.version_info, sys.platform = (2, 7, 0, 'final', 0), 'freebsd'"
	inPython(t, "syncput", byName, root, answered(t, "n:\x00\x00\x00\x00", "E:", ".:"),
		begun(kindSyncPut, Preserve, "."), question("file", 3), record(kindAsked), done)
	const noDigest = "import sys\nsys.modules['hashlib'] = None"
	compared := record(kindQuestion, attr(0o600), u64(3), digest([]byte("abc")), []byte("file"))
	inPython(t, "syncput", noDigest, root, func(got []string) {
		if len(got) != 3 || !strings.HasSuffix(got[0], "file\x00this Python has no SHA-256") {
			t.Errorf("got answers %q, want that the file can't be compared", got)
		}
	}, begun(kindSyncPut, Preserve|Checksum, "."), compared, record(kindAsked), done)
}

// A file with an absolute name comes from a context whose directory is closed to its account.
func TestGetFromClosedDirectory(t *testing.T) {
	const closed = `import os
opened = os.open
def closed(name, *more):
    if name == '.'.encode(): raise OSError(13, 'closed')
    return opened(name, *more)
os.open = closed`
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	inPython(t, "get", closed, t.TempDir(), func(got []string) {
		if len(got) != 3 || got[1][0] != kindSmall || got[2] != ".:" {
			t.Errorf("got answers %q, want the file", got)
		}
	}, record(kindGet, make([]byte, 4), named(file)))
	inPython(t, "get", closed, t.TempDir(), func(got []string) {
		if len(got) != 2 || got[0][0] != kindFailure || got[1] != ".:" {
			t.Errorf("got answers %q, want a failure of a relative name", got)
		}
	}, record(kindGet, make([]byte, 4), named("file")))
}

// A file that can't be sent any more once it is asked for is named as it was told of: whole.
func TestFailureOfAskedFile(t *testing.T) {
	const unreadable = `import os
opened = os.open
def closed(name, *more):
    if name == 'x'.encode(): raise OSError(5, 'gone')
    return opened(name, *more)
os.open = closed`
	root := t.TempDir()
	for _, name := range []string{"src/x", "src/a/b/x"} {
		file := filepath.Join(root, name)
		err := os.MkdirAll(filepath.Dir(file), 0o755)
		if err == nil {
			err = os.WriteFile(file, []byte("abc"), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	need := func(n byte) []byte { return record(kindNeed, []byte{0, 0, 0, n}) }
	for _, source := range []string{"src", root + "/src", "src/a/.."} {
		inPython(t, "syncget", unreadable, root, func(got []string) {
			var named []string
			for _, answer := range got {
				if failure, ok := strings.CutPrefix(answer, "!:\x00\x00\x00\x05"); ok {
					path, _, _ := strings.Cut(failure, "\x00")
					named = append(named, path)
				}
			}
			want := []string{source + "/x", source + "/a/b/x"}
			if !slices.Equal(named, want) {
				t.Errorf("%s: got failures of %q, want %q", source, named, want)
			}
		}, begun(kindSyncGet, Preserve, source), need(0), need(1), done)
	}
}

// A file that takes another one's place before that has got its further name gets none.
func TestExchangedForLink(t *testing.T) {
	const exchanged = `import os
link = os.link
def planted(name, *more, **how):
    file = os.path.join('src'.encode(), os.path.basename(name))
    os.unlink(os.path.join(TOP, file))
    PLANT
    return link(name, *more, **how)
os.link = planted`
	for name, plant := range map[string]string{
		"a link": `os.symlink(TOP + '/secret', os.path.join(TOP, file))`,
		"a file": `link(TOP + '/secret', os.path.join(TOP.encode(), file))`,
		"none":   `pass`,
	} {
		root := t.TempDir()
		if err := os.WriteFile(filepath.Join(root, "secret"), []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
		top := "TOP = '" + root + "'.encode().decode()\n"
		plant = strings.ReplaceAll(plant, "os.path.join(TOP,", "os.path.join(TOP.encode(),")
		text := top + strings.ReplaceAll(exchanged, "PLANT", plant)
		text = strings.ReplaceAll(text, "os.path.join(TOP, file)", "os.path.join(TOP.encode(), file)")
		inPython(t, "syncput", text, root, func(got []string) {
			last := len(got) - 2
			if last < 1 || got[last][0] != kindFailure || !strings.Contains(got[last], "src/b/y") {
				t.Errorf("%s: got answers %q, want a failure of src/b/y", name, got)
			}
			left, err := filepath.Glob(filepath.Join(root, "src/b/*"))
			hidden, _ := filepath.Glob(filepath.Join(root, "src/b/.mitogen*"))
			if err != nil || len(left)+len(hidden) > 0 {
				t.Errorf("%s: got %q, %q, %v, want no further name", name, left, hidden, err)
			}
			os.RemoveAll(filepath.Join(root, "src"))
		}, begun(kindSyncPut, Preserve|HardLinks, "."), dir("src"), linkedTo(0, "x", 3),
			dir("src/b"), linkedTo(0, "y", 3), record(kindAsked), dir("src"), small("x", "new"), done)
	}
}

// A link that is exchanged while it is read, and put back, isn't followed.
func TestLinkPutBack(t *testing.T) {
	const exchanged = `import os, time
read = os.readlink
def exchanged(name):
    time.sleep(0.1)
    os.rename(name, 'aside')
    os.symlink('evil', name)
    to = read(name)
    os.unlink(name)
    os.rename('aside', name)
    return to
os.readlink = exchanged`
	root := t.TempDir()
	for _, name := range []string{"good", "evil"} {
		if err := os.Mkdir(filepath.Join(root, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("good", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	inPython(t, "put", exchanged, root, func(got []string) {
		if len(got) != 2 || got[0][0] != kindFailure || got[1] != ".:" {
			t.Errorf("got answers %q, want a failure", got)
		}
	}, begun(kindPut, Into, "link"), done)
	inPython(t, "put", "", root, answered(t, ".:"), begun(kindPut, Into, "link"), done)
}

// A put says that its destination is no directory, and another one takes it for none.
func TestAlias(t *testing.T) {
	for _, tt := range []struct {
		there bool
		flags Flags
		said  []string
		want  string // the file that is made, below top
	}{
		{false, 0, []string{".:"}, "x"},
		{false, AskAlias, []string{"D:", ".:"}, "x"},
		{true, AskAlias, []string{".:"}, "src/x"},
		{true, KeepAlias, []string{".:"}, "x"},
	} {
		root := t.TempDir()
		at := filepath.Join(root, "top")
		prepare := func() {
			err := os.RemoveAll(at)
			if tt.there && err == nil {
				err = os.Mkdir(at, 0o700)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		check := func(got []string) {
			t.Helper()
			answered(t, tt.said...)(got)
			if _, err := os.Stat(filepath.Join(at, tt.want)); err != nil {
				t.Errorf("%+v: got %v, want a file", tt, err)
			}
			prepare()
		}
		prepare()
		records := [][]byte{begun(kindPut, tt.flags, at), dir("src"), small("x", "new"), done}
		inPython(t, "put", "", root, check, records...)
		var up bytes.Buffer
		if err := Serve(t.Context(), bytes.NewReader(bytes.Join(records, nil)), &up); err != nil {
			t.Fatal(err)
		}
		check(recordTexts(&up))
	}
}
