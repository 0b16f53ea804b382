package cli

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90": 90 * time.Second, "0.5": 500 * time.Millisecond, "1.5m": 90 * time.Second,
		"1h2m": 62 * time.Minute, "20ms": 20 * time.Millisecond,
	} {
		var d duration
		if err := d.Set(text); err != nil || time.Duration(d) != want {
			t.Errorf("%s: %s, %v; want %s", text, time.Duration(d), err, want)
		}
	}
	for _, text := range []string{"", "x", "-1", "0", "1x", "1e400", "inf", "nan", "0s"} {
		var d duration
		if err := d.Set(text); err == nil {
			t.Errorf("duration %q: got %s, want an error", text, time.Duration(d))
		}
	}
}

func TestTargetList(t *testing.T) {
	var l targetList
	for _, text := range []string{"web1", "web2,deploy@web3:22+sudo", "[fe80::1]:22, local,",
		`a\,b,CORP\+me@c,CORP\me@d , e f@g`} {
		if err := l.Set(text); err != nil {
			t.Fatal(err)
		}
	}
	want := targetList{"web1", "web2", "deploy@web3:22+sudo", "[fe80::1]:22", "local", `a\,b`,
		`CORP\+me@c`, `CORP\me@d`, "e f@g"}
	if !slices.Equal(l, want) {
		t.Errorf("%q, want %q", l, want)
	}
	for _, text := range []string{"", ",", "web1,-x", "a++b", "no:x"} {
		if err := l.Set(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func TestParseFunction(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "my.py")
	if err := os.WriteFile(script, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(dir, "my-script.py")
	if err := os.WriteFile(bad, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ text, function, dir string }{
		{"os:getpid", "os:getpid", "."},
		{"os.path:join", "os.path:join", "."},
		{"a.b:C.d", "a.b:C.d", "."},
		{script + ":main", "my:main", dir},
	} {
		function, dir, err := parseFunction(c.text)
		if err != nil || function != c.function || dir != c.dir {
			t.Errorf("function %s: got %s, directory %s, %v; want %s, %s",
				c.text, function, dir, err, c.function, c.dir)
		}
	}
	for _, text := range []string{"", "os", ":", "os:", ":f", "os:f:", "o-s:f", "os:1f", "os..path:f",
		"os:a b", bad + ":f", dir + "/none.py:f", "./os:f"} {
		if function, _, err := parseFunction(text); err == nil {
			t.Errorf("function %q: got %s, want an error", text, function)
		} else if !errors.As(err, new(*usageError)) {
			t.Errorf("%q: %v is no usage error", text, err)
		}
	}
}

func TestConfigWords(t *testing.T) {
	for line, want := range map[string][]string{
		"":                         nil,
		"# Host a":                 nil,
		"Host":                     nil,
		"Host a b":                 {"Host", "a", "b"},
		"\tHost\ta  b ":            {"Host", "a", "b"},
		"host=a":                   {"host", "a"},
		"Host = a=b":               {"Host", "a=b"},
		`Host "a b" c`:             {"Host", "a b", "c"},
		`Host a # the first`:       {"Host", "a"},
		`Host a#b`:                 {"Host", "a#b"},
		`Include "~/my files/*" x`: {"Include", "~/my files/*", "x"},
		`Host "unfinished`:         {"Host", "unfinished"},
	} {
		if got := configWords(line); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	got, err := environment([]string{"A=b", "C=", "D=e=f"})
	if err != nil || len(got) != 3 || got["A"] != "b" || got["C"] != "" || got["D"] != "e=f" {
		t.Errorf("environment A=b C= D=e=f: got %q, %v; want the three variables", got, err)
	}
	for _, text := range []string{"", "A", "=b", "A=\x00"} {
		if got, err := environment([]string{text}); err == nil {
			t.Errorf("environment %q: got %q, want an error", text, got)
		}
	}
}

// terminalUI thinks that what it writes to is a terminal.
func terminalUI(w io.Writer) *ui {
	s := &stream{w: w}
	return &ui{out: s, err: s, outTTY: true, errTTY: true, plain: true}
}

func TestLines(t *testing.T) {
	for _, c := range []struct {
		name   string
		tty    bool
		writes []string
		want   string
	}{
		{"whole", false, []string{"a\nb\n"}, "web1: a\nweb1: b\n"},
		{"in pieces", false, []string{"a", "b", "\nc", "\n"}, "web1: ab\nweb1: c\n"},
		{"no end", false, []string{"a\nb"}, "web1: a\nweb1: b\n"},
		{"as escapes to files", false, []string{"\x1b[1m\xff\ta\rb\r\n"},
			`web1: \x1b[1m\xff` + "\ta" + `\x0db` + "\n"},
		{"not to terminals", true, []string{"\x1b[1m\xff\ta\rb\r\n"},
			`web1: \x1b[1m\xff    a\x0db` + "\n"},
		{"empty lines", true, []string{"\n\n"}, "web1: \nweb1: \n"},
		{"characters stay whole", true, []string{"\xc3", "\xa4\n"}, "web1: ä\n"},
	} {
		var out bytes.Buffer
		u := terminalUI(&out)
		u.outTTY = c.tty
		u.errTTY = c.tty
		l := u.newLines(u.out, "web1")
		for _, w := range c.writes {
			if n, err := l.Write([]byte(w)); n != len(w) || err != nil {
				t.Errorf("%s: write %q: got %d, %v; want %d", c.name, w, n, err, len(w))
			}
		}
		l.flush()
		if out.String() != c.want {
			t.Errorf("%s: %q, want %q", c.name, out.String(), c.want)
		}
	}
}

func TestLinesWithoutEnd(t *testing.T) {
	var out bytes.Buffer
	u := terminalUI(&out)
	l := u.newLines(u.out, "web1")
	for range 100 {
		l.Write([]byte(strings.Repeat("ä", 1000)))
		if len(l.rest) > maxLine {
			t.Fatalf("keeps %d bytes", len(l.rest))
		}
	}
	l.flush()
	if strings.Contains(out.String(), `\x`) || strings.Count(out.String(), "ä") != 100_000 {
		t.Error("a character was cut, or lost")
	}
}

func TestCaptured(t *testing.T) {
	c := &captured{}
	for range 17 {
		c.Write(make([]byte, 1<<20))
	}
	if len(c.data) != maxCaptured || !c.truncated {
		t.Errorf("kept %d bytes, truncated %v", len(c.data), c.truncated)
	}
}

func TestSpool(t *testing.T) {
	r, w := io.Pipe()
	s, err := newSpool(r)
	if err != nil {
		t.Fatal(err)
	}
	a, b := s.reader(), s.reader()
	go func() {
		io.WriteString(w, "one ")
		io.WriteString(w, "two")
		w.Close()
	}()
	for _, reader := range []io.Reader{a, b} {
		if got, err := io.ReadAll(reader); err != nil || string(got) != "one two" {
			t.Errorf("read all: got %q, %v; want \"one two\"", got, err)
		}
	}
	s.close()
}

// A reader that waits returns when the spool is closed. The spool reads nothing that no reader
// wants.
func TestSpoolClose(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	s, err := newSpool(r)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error)
	go func() {
		_, err := s.reader().Read(make([]byte, 1))
		got <- err
	}()
	io.WriteString(w, "x") // returns once it was read
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	go func() {
		rest := s.reader()
		rest.Read(make([]byte, 1))
		_, err := rest.Read(make([]byte, 1))
		got <- err
	}()
	time.Sleep(10 * time.Millisecond) // most likely it waits by now; the result is the same otherwise
	s.close()
	if err := <-got; err == nil {
		t.Error("no error after close")
	}
}
