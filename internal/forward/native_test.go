package forward

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/pysource"
	_ "github.com/mitogen-go/mitogen/internal/testenv"
	"github.com/mitogen-go/mitogen/internal/wire"
)

const takes313 = "linux cpython 3.13 wide x86_64 64 glibc 2.99 " +
	".cpython-313-x86_64-linux-gnu.so,.abi3.so,.so"

// natives are packages with extension modules: small._x, and large._x, which needs small.
func natives(t *testing.T) fstest.MapFS {
	out, err := exec.Command("python3", "-c", "print([l.split()[-1] for l in "+
		"open('/proc/self/maps') if '/libc' in l and '.so' in l][0])").Output()
	if err != nil {
		t.Skip(err)
	}
	object, err := os.ReadFile(strings.TrimSpace(string(out)))
	if err != nil {
		t.Skip(err)
	}
	if f, err := elf.NewFile(bytes.NewReader(object)); err != nil || f.Machine != elf.EM_X86_64 {
		t.Skip("libc is for another machine")
	}
	lib := fstest.MapFS{}
	installNative(lib, "small", object)
	installNative(lib, "large", append(bytes.Clone(object), "\x00small.part\x00"...))
	return lib
}

// installNative adds a package with an extension module.
func installNative(lib fstest.MapFS, name string, data []byte) {
	file := name + "/_x.cpython-313-x86_64-linux-gnu.so"
	sum := sha256.Sum256(data)
	record := file + ",sha256=" + base64.RawURLEncoding.EncodeToString(sum[:]) + ",1\n" + name +
		"/part.py,,\n"
	for at, text := range map[string]string{file: string(data),
		name + "/__init__.py":          "from . import _x",
		name + "/part.py":              "",
		name + "-1.dist-info/RECORD":   record,
		name + "-1.dist-info/METADATA": "Requires-Dist: small\n",
		name + "-1.dist-info/WHEEL":    "Tag: cp313-cp313-manylinux_2_17_x86_64\n"} {
		lib[at] = &fstest.MapFile{Data: []byte(text)}
	}
}

// answer has f take the answer of a Linux context.
func answer(f *Forwarder, ctx wire.ContextID, abi string, names ...string) {
	f.Lacks(ctx, linux, abi, names)
}

// What a context takes is asked once, along with what it lacks, and what it doesn't take isn't
// sent.
func TestNatives(t *testing.T) {
	f, s := forwarder(tree("app.py: import small", "more.py: import large"), natives(t))
	for ctx := wire.ContextID(1); ctx <= 5; ctx++ {
		f.Add(ctx, 0)
	}
	call(f, 1, "app")
	s.expect(t, "call", "ask 1 [small] and what it takes", "coming 1 1/0", "send 1 app=call")
	answer(f, 1, takes313, "small")
	s.expect(t, "it fits", "coming 1 2/1", "send 1 small=bundle", "send 1 small._x=bundle")
	n := f.Need(withABI(f, 1), Program{Roots: []string{"more"}})
	f.Want(1, n)
	s.expect(t, "known", "ask 1 [large]", "coming 1 1/0", "send 1 more=call")
	answer(f, 1, strings.Replace(takes313, "3.13", "3.11", 1), "large")
	s.expect(t, "an answer that wasn't asked for",
		"coming 1 3/1", "send 1 small.part=bundle", "send 1 large=bundle", "send 1 large._x=bundle")

	call(f, 2, "app")
	s.lines = nil
	answer(f, 2, strings.Replace(takes313, "3.13", "3.12", 1), "small")
	s.expect(t, "it doesn't fit", "coming 2 1/1", "send 2 small=bundle")
	call(f, 3, "app")
	s.lines = nil
	answer(f, 3, "", "small")
	s.expect(t, "no word", "coming 3 1/1", "send 3 small=bundle")
	call(f, 4, "app")
	s.lines = nil
	answer(f, 4, takes313)
	s.expect(t, "it has the package", "coming 4 0/1")
	call(f, 5, "app")
	f.Gone(5)
	answer(f, 5, takes313, "small")
	answer(f, 9, takes313, "small")
}

// withABI is linux, with what ctx has said.
func withABI(f *Forwarder, ctx wire.ContextID) (t pysource.Target) {
	t = linux
	t.ABI = f.ABI(ctx)
	return t
}

// A context that asks for an extension module alone is answered, whatever it takes.
func TestNativeAskedAlone(t *testing.T) {
	for abi, want := range map[string]byte{takes313: modules.Native,
		strings.Replace(takes313, "3.13", "3.12", 1): modules.Missing,
		"": modules.Missing} {
		f, s := forwarder(tree("app.py: def f():\n import small._x"), natives(t))
		f.Add(1, 0)
		call(f, 1, "app")
		s.expect(t, "call", "load 1 mapp=call")
		if m, given := f.Asked(1, linux, "app", "small._x"); m != nil || !given {
			t.Errorf("%q: got %v, %v, want a bundle", abi, m, given)
		}
		s.expect(t, "asked", "ask 1 [small] and what it takes")
		answer(f, 1, abi, "small")
		lines := strings.Join(s.lines, "\n")
		if got := strings.Contains(lines, "small._x=asked"); got != (want == modules.Native) ||
			!got && !strings.Contains(lines, "-1") {
			t.Errorf("%q: got %q, want %c", abi, s.lines, want)
		}
	}
}

// No context gets more than its budget, by however many calls and questions.
func TestNativeBudget(t *testing.T) {
	lib := natives(t)
	size := int64(len(lib["small/_x.cpython-313-x86_64-linux-gnu.so"].Data))
	for _, tt := range []struct {
		budget      int64
		small, both bool
	}{{3 * size, true, true}, {2*size + 12, true, true}, {2 * size, true, false}, {size, true, false},
		{size - 1, false, false}, {-1, false, false}} {
		f, s := forwarder(tree("app.py: import small", "both.py: import small, large"), lib)
		f.Budget(tt.budget)
		for ctx := wire.ContextID(1); ctx <= 2; ctx++ {
			f.Add(ctx, 0)
			f.Want(ctx, f.Need(withABI(f, ctx), Program{Roots: []string{[]string{"app", "both"}[ctx-1]}}))
			answer(f, ctx, takes313, "small", "large")
			f.Asked(ctx, withABI(f, ctx), "", "large._x")
			answer(f, ctx, takes313, "small", "large")
			lines := strings.Join(s.lines, " ")
			s.lines = nil
			large := ctx == 2 && tt.both
			if small := strings.Contains(lines, "small._x="); small != tt.small ||
				strings.Contains(lines, "large._x=") != large {
				t.Errorf("budget %d of %d, context %d: got %s", tt.budget, size, ctx, lines)
			}
		}
	}
}

// What is to be sent already counts as much as what was: calls, questions and answers at the same
// time get no more than the budget together.
func TestNativeBudgetInFlight(t *testing.T) {
	lib := natives(t)
	size := int64(len(lib["small/_x.cpython-313-x86_64-linux-gnu.so"].Data))
	for name, file := range lib { // a library that needs no other
		if strings.HasPrefix(name, "small") {
			text := strings.ReplaceAll(string(file.Data), "small/", "third/")
			if strings.HasSuffix(name, ".so") {
				text = string(file.Data)
			}
			lib["third"+strings.TrimPrefix(name, "small")] = &fstest.MapFile{Data: []byte(text)}
		}
	}
	lib["third-1.dist-info/METADATA"] = &fstest.MapFile{}
	for _, tt := range []struct {
		what  string
		known bool     // what the context takes
		apps  []string // called before anything is answered
		asks  string   // for, meanwhile
	}{
		{"two calls", false, []string{"a", "b"}, ""},
		{"two calls, the answer known", true, []string{"a", "b"}, ""},
		{"a call and a question", true, []string{"a"}, "third._x"},
		{"a question first", true, []string{"b"}, "small._x"},
	} {
		f, _ := forwarder(tree("a.py: import small", "b.py: import third", "c.py: import small, third"),
			lib)
		f.Budget(size + 20)
		f.Add(1, 0)
		want := func(root string) {
			f.Want(1, f.Need(withABI(f, 1), Program{Roots: []string{root}}))
		}
		take := func() {
			for range 8 {
				answer(f, 1, takes313, "small", "third")
			}
		}
		if tt.known {
			f.contexts[1].abi = takes313
		}
		for _, app := range tt.apps {
			want(app)
		}
		if tt.asks != "" {
			want("c")
			f.Asked(1, withABI(f, 1), "", tt.asks)
		}
		take()
		if got := f.contexts[1].native; got > size+20 || got < size {
			t.Errorf("%s: got %d bytes, want one of two modules with %d", tt.what, got, size)
		}
		if left := len(f.contexts[1].booked); left > 0 {
			t.Errorf("%s: %d closures are booked still", tt.what, left)
		}
	}
}

// A bundle that was made for a context with more extension modules isn't sent to one with fewer.
func TestNativeBudgetOfSharedBundles(t *testing.T) {
	lib := natives(t)
	data := lib["small/_x.cpython-313-x86_64-linux-gnu.so"].Data
	const file = "small/_y.cpython-313-x86_64-linux-gnu.so"
	lib[file] = &fstest.MapFile{Data: data}
	lib["small/__init__.py"] = &fstest.MapFile{}
	record := lib["small-1.dist-info/RECORD"]
	line, _, _ := strings.Cut(string(record.Data), "\n")
	record.Data = append(record.Data, strings.Replace(line, "_x", "_y", 1)+"\n"...)
	f, s := forwarder(tree("one.py: import small._x", "both.py: import small._x, small._y"), lib)
	for ctx, app := range []string{1: "both", 2: "one", 3: "both"} {
		if ctx == 0 {
			continue
		}
		f.Add(wire.ContextID(ctx), 0)
		if app == "one" {
			f.budget = int64(len(data))
		} else {
			f.budget = DefaultBudget
		}
		call(f, wire.ContextID(ctx), app)
		answer(f, wire.ContextID(ctx), takes313, "small")
		lines := strings.Join(s.lines, " ")
		s.lines = nil
		both := strings.Contains(lines, "small._y=")
		if both != (app == "both") || !strings.Contains(lines, "small._x=") {
			t.Errorf("context %d: got %s", ctx, lines)
		}
	}
}

// Bundles of extension modules are made before the lock is taken.
func TestNativesAreCompressedAhead(t *testing.T) {
	lacks := func(f *Forwarder, names ...string) {
		f.contexts[1].abi = takes313
		c := f.closure(withABI(f, 1), Program{Roots: []string{"app"}})
		for _, name := range names {
			f.book.Misses(1, name, c)
		}
	}
	for what, do := range map[string]func(f *Forwarder){
		"an answer": func(f *Forwarder) {
			call(f, 1, "app")
			answer(f, 1, takes313, "large")
		},
		"an answer that more waits for": func(f *Forwarder) {
			f.contexts[1].abi = takes313
			f.Want(1, f.Need(withABI(f, 1), Program{Roots: []string{"app"}}))
			f.lacks(1, []string{"large"})
		},
		"a call, all is known": func(f *Forwarder) {
			lacks(f, "small", "large")
			f.Want(1, f.Need(withABI(f, 1), Program{Roots: []string{"app"}}))
		},
		"a question": func(f *Forwarder) {
			lacks(f, "small")
			call(f, 1, "later")
			f.Asked(1, withABI(f, 1), "later", "large._x")
		},
	} {
		t.Run(what, func(t *testing.T) {
			lib := natives(t)
			noise := make([]byte, 6<<20) // takes a while
			rand.NewChaCha8([32]byte{}).Read(noise)
			object := lib["small/_x.cpython-313-x86_64-linux-gnu.so"].Data
			installNative(lib, "large", append(bytes.Clone(object), noise...))
			f, s := forwarder(tree("app.py: import large",
				"later.py: def f():\n import large._x"), lib)
			f.Add(1, 0)
			stop, seen := make(chan bool), make(chan string)
			go func() { seen <- compressing(stop) }()
			do(f)
			close(stop)
			if stack := <-seen; stack != "" {
				t.Errorf("with the lock:\n%s", stack)
			}
			if lines := strings.Join(s.lines, " "); !strings.Contains(lines, "large._x=") {
				t.Errorf("got %s", lines)
			}
		})
	}
}

// compressing returns the stack of a goroutine that makes a bundle of extension modules for a Book,
// which the lock protects; "": none did until stop was closed.
func compressing(stop chan bool) (found string) {
	buf := make([]byte, 1<<20)
	for {
		select {
		case <-stop:
			return found
		case <-time.After(time.Millisecond):
		}
		all := string(buf[:runtime.Stack(buf, true)])
		for stack := range strings.SplitSeq(all, "\n\n") {
			if strings.Contains(stack, "bundle.buildNative(") &&
				strings.Contains(stack, "bundle.(*Book).") {
				found = stack
			}
		}
	}
}

// Why a package's extension modules aren't sent is said with what that package needs.
func TestReasonsOfNativeBudget(t *testing.T) {
	lib := natives(t)
	object := lib["small/_x.cpython-313-x86_64-linux-gnu.so"].Data
	size := int64(len(object))
	installNative(lib, "huge", append(bytes.Clone(object), make([]byte, 5<<20)...))
	installNative(lib, "vast", append(bytes.Clone(object), make([]byte, 9<<20)...))
	all := map[string]int64{"small": size, "huge": size + 5<<20, "vast": size + 9<<20}
	for _, budget := range []int64{1, size, 2*size + 5<<20, 3*size + 14<<20} {
		f, _ := forwarder(tree("app.py: import vast, small, huge"), lib)
		f.Budget(budget)
		f.Add(1, 0)
		call(f, 1, "app") // which is asked about packages, and answers what it takes alone
		f.contexts[1].abi = takes313
		p := Program{Roots: []string{"app"}}
		_, target := f.fitted(1, withABI(f, 1), want{c: f.closure(withABI(f, 1), p), p: p})
		left := budget
		for _, name := range []string{"small", "huge", "vast"} {
			left -= all[name]
			m := f.finder.Pass().For(target.ABI).Find(name + "._x")
			want := fmt.Sprintf("%s with what goes along needs %d MiB ", name, (all[name]+1<<20-1)>>20)
			if refused := m.Letter == modules.Missing; refused != (left < 0) ||
				refused && !strings.Contains(m.Reason, want) {
				t.Errorf("budget %d, %s: got %c %s, want %s", budget, name, m.Letter, m.Reason, want)
			}
		}
	}
}

// What the target has needs no room in its budget, unless it asks for that nevertheless.
func TestNativeBudgetOfWhatIsThere(t *testing.T) {
	lib := natives(t)
	size := int64(len(lib["small/_x.cpython-313-x86_64-linux-gnu.so"].Data))
	own := tree("app.py: import small", "both.py: import small, large")
	for _, known := range []bool{false, true} {
		f, s := forwarder(own, lib)
		f.Budget(size * 3 / 2)
		f.Add(1, 0)
		if known {
			call(f, 1, "app")
			answer(f, 1, takes313)
		}
		f.Want(1, f.Need(withABI(f, 1), Program{Roots: []string{"both"}}))
		answer(f, 1, takes313, "large")
		lines := strings.Join(s.lines, " ")
		if !strings.Contains(lines, "large._x=") || strings.Contains(lines, "small._x=") {
			t.Errorf("small is there, what is taken known: %v: got %s", known, lines)
		}
	}

	f, s := forwarder(own, lib)
	f.Budget(size * 3 / 2)
	f.Add(1, 0)
	call(f, 1, "app")
	answer(f, 1, takes313)
	f.Want(1, f.Need(withABI(f, 1), Program{Roots: []string{"both"}})) // large is booked
	for _, name := range []string{"small", "small._x"} {
		if m, given := f.Asked(1, withABI(f, 1), "", name); m == nil || !given {
			t.Errorf("%s: got %v, %v, want an answer without a bundle", name, m, given)
		}
	}
	answer(f, 1, takes313, "large")
	lines := strings.Join(s.lines, " ")
	if got := f.contexts[1].native; got > size*3/2 || !strings.Contains(lines, "large._x=") {
		t.Errorf("a package is asked for that was there: got %d bytes of %d, %s", got, size*3/2, lines)
	}
}
