package forward

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/pysource"
)

// project returns a Forwarder for modules of the user's own.
func project(file string, sources map[string]string) *Forwarder {
	fs := fstest.MapFS{}
	for name, text := range sources {
		fs[name] = &fstest.MapFile{Data: []byte(text)}
	}
	builtin := func(string) ([]byte, bool) { return nil, false }
	f := New(modules.New([]modules.Entry{{FS: fs, Own: true}}, builtin, modules.Options{}),
		func(Batch) {})
	f.Remember(file)
	return f
}

// What was learned of a program goes to that program, and to no other project's of the same name.
func TestLearnedOfOneProgram(t *testing.T) {
	for _, tt := range []struct {
		program, file string
		same          bool // two projects may share it
	}{
		{"-m __main__", "__main__.py", false},
		{"-m tool", "tool/__main__.py", false},
		{"tool", "tool.py", false},
		{"-m tool", "tool/__init__.py", false},
		{"script 0123", "other.py", true},
		{"os", "other.py", true},
	} {
		kept := filepath.Join(t.TempDir(), "learned.json")
		one := map[string]string{tt.file: "import one", "late.py": ""}
		two := map[string]string{tt.file: "import two", "late.py": ""}
		if filepath.Dir(tt.file) == "tool" && filepath.Base(tt.file) != "__init__.py" {
			one["tool/__init__.py"], two["tool/__init__.py"] = "", ""
		}
		a := project(kept, one)
		a.lore.learn(a.loreKey(tt.program), "late", false)
		if err := a.Save(); err != nil {
			t.Fatal(err)
		}
		again, other := project(kept, one), project(kept, two)
		if got := again.lore.of(again.loreKey(tt.program)); !slices.Equal(got, []string{"late"}) {
			t.Errorf("%s: the same program has learned %q, want late", tt.program, got)
		}
		if got := other.lore.of(other.loreKey(tt.program)); len(got) > 0 != tt.same {
			t.Errorf("%s: another project's program has learned %q", tt.program, got)
		}
	}
}

// What a context asks for is learned of the program whose need it is.
func TestAskedAndNeededAreOneProgram(t *testing.T) {
	f := project("", map[string]string{"__main__.py": "import late", "late.py": ""})
	f.Add(1, 0)
	target := pysource.Target{}
	f.Grant(1, target, f.Need(target, Program{Name: "-m __main__", Roots: []string{"__main__"}}))
	f.Asked(1, target, "-m __main__", "late")
	f.Asked(1, target, "-m __main__", "nowhere")
	if got := f.lore.of("-m __main__"); len(got) > 0 {
		t.Errorf("the name alone has learned %q", got)
	}
	if got := f.lore.of(f.loreKey("-m __main__")); len(got) == 0 {
		t.Error("nothing is learned")
	}
}

// Engines that end at the same time lose nothing of each other's.
func TestWritersAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "made", "learned.json")
	const engines = 30
	var all sync.WaitGroup
	for i := range engines {
		all.Go(func() {
			f := &Forwarder{}
			f.Remember(file)
			f.lore.learn(fmt.Sprintf("script %d", i), "module", false)
			err := f.Save()
			for errors.Is(err, errHeld) { // nothing is lost by that
				err = f.Save()
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := len(readKept(file)); got != engines {
		t.Errorf("got %d programs, want %d", got, engines)
	}
}

// A writer that another process holds up gives up, with an error; what is no file of the user's
// isn't waited for either.
func TestWriterThatIsHeldUp(t *testing.T) {
	dir := t.TempDir()
	held := filepath.Join(dir, "held")
	lock, err := os.OpenFile(held+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	link, fifo := filepath.Join(dir, "link"), filepath.Join(dir, "fifo")
	if err := os.Symlink(held, link+".lock"); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(fifo+".lock", 0o600); err != nil {
		t.Fatal(err)
	}
	for file, held := range map[string]bool{held: true, link: false, fifo: false} {
		f := &Forwarder{}
		f.Remember(file)
		f.lore.learn("script 1", "module", false)
		done := make(chan error, 1)
		go func() { done <- f.Save() }()
		select {
		case err := <-done:
			if err == nil || errors.Is(err, errHeld) != held {
				t.Errorf("%s: got %v, want an error, and that it is held: %t", filepath.Base(file), err, held)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s: Save doesn't return", filepath.Base(file))
		}
	}
}
