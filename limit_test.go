package mitogen_test

import (
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/mitogen-go/mitogen"
)

// lines is a logger's text, which goroutines write.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// noise is an assignment of n bytes of Python that don't compress well.
func noise(n int) string {
	var b strings.Builder
	b.WriteString("x = '''")
	r := rand.New(rand.NewPCG(1, 2))
	for b.Len() < n {
		fmt.Fprintf(&b, "%x\n", r.Uint64())
	}
	return b.String() + "'''\n"
}

// MaxMessage bounds values, not the modules that a program is made of. A file that is asked for is
// a value, and refused with these words.
func TestModulesAboveMaxMessage(t *testing.T) {
	const limit = 131072
	files := fstest.MapFS{
		"big.py":           {Data: []byte(noise(5*limit) + "def f(): return 1\n")},
		"many/__init__.py": {Data: []byte("from many import a, b, c, d\ndef f(): return 2\n")},
		"reads/__init__.py": {Data: []byte("import pkgutil\ndef f(n): return " +
			"len(pkgutil.get_data('reads', n))\n")},
		"reads/later.txt": {Data: []byte(noise(6 * limit))},
	}
	for _, name := range []string{"a", "b", "c", "d"} {
		files["many/"+name+".py"] = &fstest.MapFile{Data: []byte(name + " = 1\n" + noise(limit-100))}
	}
	var log lines
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	e, err := mitogen.New(mitogen.Options{Path: []fs.FS{files}, MaxMessage: limit, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for _, target := range []string{"local", "local+local"} {
		c, err := e.Connect(patient(t), target, mitogen.ConnectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for function, want := range map[string]int{"big:f": 1, "many:f": 2} {
			if n, err := call[int](t, c, function); n != want || err != nil {
				t.Errorf("%s in %s: got %d, %v", function, target, n, err)
			}
		}
		_, err = call[int](t, c, "reads:f", "later.txt")
		if err == nil || !strings.Contains(err.Error(), "larger than 131072 bytes") {
			t.Errorf("a file that is asked for in %s: got %v", target, err)
		}
		status, err := c.Run(patient(t), mitogen.Script{Name: "s.py",
			Source: []byte("import big, many\nprint(big.f())\n"), Stdout: io.Discard})
		if status != 0 || err != nil {
			t.Errorf("a script in %s: got %d, %v", target, status, err)
		}
	}
	if s := log.String(); s != "" {
		t.Errorf("logged: %s", s)
	}
}
