package bundle

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/closure"
	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/pysource"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// group makes one of members "package/name", "-" before the name for a negative answer.
func group(needs []int, members ...string) closure.Group {
	g := closure.Group{Needs: needs}
	for _, text := range members {
		pkg, name, _ := strings.Cut(text, "/")
		m := &modules.Module{Name: name, Path: name + ".py", Letter: modules.Plain,
			Source: []byte("# " + name)}
		if trimmed, ok := strings.CutPrefix(name, "-"); ok {
			m = &modules.Module{Name: trimmed, Letter: modules.Missing, Reason: "nowhere"}
		}
		g.Members = append(g.Members, closure.Member{Module: m, Package: pkg})
	}
	return g
}

func TestPack(t *testing.T) {
	for _, c := range []struct {
		name   string
		groups []closure.Group
		want   string // bundles, groups in brackets
	}{
		{"nothing", nil, ""},
		{"empty groups", []closure.Group{group(nil), group([]int{0}, "p/p")}, "p:[p]"},
		{"by package", []closure.Group{group(nil, "p/p"), group([]int{0}, "q/q"),
			group([]int{0}, "p/p.m")}, "p:[p][p.m] q:[q]"},
		{"dependencies first", []closure.Group{group(nil, "p/p"), group(nil, "q/q"),
			group([]int{0, 1}, "p/p.m")}, "q:[q] p:[p][p.m]"},
		{"cycle", []closure.Group{group(nil, "p/p", "p/p.m", "p/-x")}, "p:[p p.m -x]"},
		{"packages in turns", []closure.Group{group(nil, "p/p"), group([]int{0}, "q/q"),
			group([]int{1}, "p/p.m")}, "p:[p] q:[q] p:[p.m]"},
		{"cycle through packages", []closure.Group{group(nil, "p/p", "q/q"), group([]int{0}, "p/p.m")},
			"q:[q] p:[p][p.m]"},
		{"refused once", []closure.Group{group(nil, "p/p", "p/-x"), group(nil, "p/p.m", "p/-x"),
			group(nil, "q/q", "q/-x")},
			"p:[p -x][p.m] q:[q -x]"},
		{"nothing but a refusal", []closure.Group{group(nil, "/-x")}, ":[-x]"},
	} {
		var got []string
		for _, b := range Pack(c.groups) {
			got = append(got, b.Package+":"+contents(t, b))
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s: got %s, want %s", c.name, s, c.want)
		}
	}
}

// contents reads a bundle's text.
func contents(t *testing.T, b *Bundle) (out string) {
	t.Helper()
	r, err := zlib.NewReader(bytes.NewReader(b.Compressed))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil || len(text) != b.Size {
		t.Fatalf("%d bytes, not %d: %v", len(text), b.Size, err)
	}
	for len(text) > 0 {
		var g []byte
		g, text = cut(text)
		var names []string
		for len(g) > 0 {
			var payload []byte
			payload, g = cut(g)
			m, err := wire.ParseModule(payload)
			if err != nil {
				t.Fatal(err)
			}
			if m.Form == wire.FormNone {
				m.Name = "-" + m.Name
			} else if string(m.Rest) != "# "+m.Name {
				t.Errorf("%s: got %q", m.Name, m.Rest)
			}
			names = append(names, m.Name)
		}
		out += "[" + strings.Join(names, " ") + "]"
	}
	return out
}

func cut(b []byte) (first, rest []byte) {
	n := binary.BigEndian.Uint32(b) + 4
	return b[4:n], b[n:]
}

func TestSameGroupsSameBundles(t *testing.T) {
	groups := []closure.Group{group(nil, "p/p", "p/-x"), group([]int{0}, "q/q")}
	one, two := Pack(groups), Pack(groups)
	for i := range one {
		if one[i].ID != two[i].ID || !bytes.Equal(one[i].Compressed, two[i].Compressed) {
			t.Errorf("bundle %d differs", i)
		}
	}
}

// TestLevels prints sizes and times for what $MITOGEN_SITE has: a site-packages directory and names
// to import.
func TestLevels(t *testing.T) {
	fields := strings.Fields(os.Getenv("MITOGEN_SITE"))
	if len(fields) < 2 {
		t.Skip("MITOGEN_SITE is not set")
	}
	src := modules.New([]modules.Entry{{FS: os.DirFS(fields[0])}},
		func(string) ([]byte, bool) { return nil, false }, modules.Options{})
	target := pysource.Target{Version: [3]int{3, 13}, Implementation: "cpython", Platform: "linux",
		OSName: "posix"}
	start := time.Now()
	closure.Of(src.Pass(), target, fields[1:])
	t.Log("found, scanned and minified in", time.Since(start))
	start = time.Now()
	c := closure.Of(src.Pass(), target, fields[1:])
	t.Log("closure alone", time.Since(start))
	start = time.Now()
	t.Log("fresh", c.Fresh(src.Pass()), time.Since(start))
	start = time.Now()
	bundles := Pack(c.All())
	t.Log("packed in", time.Since(start))
	for _, b := range bundles {
		t.Logf("%s: %d names, %d bytes, %d compressed", b.Package, len(b.Names), b.Size,
			len(b.Compressed))
	}
	for _, level := range []int{1, 6, 9} {
		t.Log(levelOf(bundles, level))
	}
	b := New()
	b.Add(1, 0)
	b.Want(1, c)
	b.Lacks(1, c.Foreign)
	b.Add(2, 0)
	start = time.Now()
	b.Want(2, c)
	b.Lacks(2, c.Foreign)
	t.Log("second child", time.Since(start))
}

func levelOf(bundles []*Bundle, level int) string {
	start, total := time.Now(), 0
	for _, b := range bundles {
		r, _ := zlib.NewReader(bytes.NewReader(b.Compressed))
		var buf bytes.Buffer
		w, _ := zlib.NewWriterLevel(&buf, level)
		io.Copy(w, r)
		w.Close()
		total += buf.Len()
	}
	return fmt.Sprintf("level %d: %d bytes, %v with reading", level, total, time.Since(start))
}

// A bundle knows whether it has more than code.
func TestFiles(t *testing.T) {
	for _, letter := range []byte{modules.Plain, modules.Data} {
		g := group(nil, "p/p.a", "p/p.b")
		g.Members[1].Letter = letter
		for _, b := range Pack([]closure.Group{g}) {
			if b.Files() != (letter == modules.Data) {
				t.Errorf("bundle with a member %c: got files %v, want %v",
					letter, b.Files(), letter == modules.Data)
			}
		}
	}
}
