package sshconf

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

// files writes files below a directory of the test's.
func files(t testing.TB, texts map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range texts {
		put(t, filepath.Join(dir, name), text)
	}
	return dir
}

func put(t testing.TB, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func sum(args ...string) string {
	return Find(context.Background(), Query{Argv: append([]string{"ssh"}, args...), Host: "h"}).Sum
}

// What ssh reads counts, and nothing else does.
func TestWhatCounts(t *testing.T) {
	for _, tt := range []struct {
		name, config string
		args         []string // DIR is the directory
		change       string   // this file is written
		want         bool     // the place changes
	}{
		{"the file", "Host h\n", nil, "config", true},
		{"another file", "Host h\n", nil, "other", false},
		{"included", "Host h\n  Include DIR/a\n", nil, "a", true},
		{"included by a pattern", "Include DIR/*.conf\n", nil, "x.conf", true},
		{"not of the pattern", "Include DIR/*.conf\n", nil, "x.conf.bak", false},
		{"included with others", "include=DIR/a DIR/b\n", nil, "b", true},
		{"included in quotes", "INCLUDE \"DIR/with blank\"\n", nil, "with blank", true},
		{"in a comment", "# Include DIR/a\n", nil, "a", false},
		{"key", "IdentityFile DIR/key\n", nil, "key", true},
		{"certificate", "IdentityFile DIR/key\n", nil, "key-cert.pub", true},
		{"key of an option", "", []string{"-i", "DIR/key"}, "key", true},
		{"key of an option in one word", "", []string{"-oIdentityFile=DIR/key"}, "key", true},
		{"known hosts", "UserKnownHostsFile DIR/known\n", nil, "known", false},
		{"the jump host's file", "ProxyCommand ssh -F DIR/jump -W %h:%p j\n", nil, "jump", true},
		{"no file", "Host h\n", []string{"-F", "none"}, "config", false},
		{"the last -F isn't the first", "Host h\n", []string{"-F", "DIR/other"}, "other", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			in := func(text string) string { return replace(text, dir) }
			put(t, filepath.Join(dir, "config"), in(tt.config))
			args := []string{"-F", filepath.Join(dir, "config")}
			for _, a := range tt.args {
				args = append(args, in(a))
			}
			before := sum(args...)
			if again := sum(args...); again != before {
				t.Fatalf("unchanged: got %s, want %s", again, before)
			}
			put(t, filepath.Join(dir, tt.change), "Host changed\n")
			if got := sum(args...) != before; got != tt.want {
				t.Errorf("%s was written: the place changes %v, want %v", tt.change, got, tt.want)
			}
		})
	}
}

func replace(text, dir string) string {
	var b []byte
	for i := 0; i < len(text); i++ {
		if i+3 <= len(text) && text[i:i+3] == "DIR" {
			b = append(b, dir...)
			i += 2
			continue
		}
		b = append(b, text[i])
	}
	return string(b)
}

// A file that was written again, touched or replaced by an equal one is the same. One of the same
// size and time isn't, if it differs.
func TestEqualFiles(t *testing.T) {
	dir := files(t, map[string]string{"config": "Host h\n  Port 1\n"})
	name := filepath.Join(dir, "config")
	before := sum("-F", name)
	old := time.Now().Add(-time.Hour)
	os.Chtimes(name, old, old)
	if sum("-F", name) != before {
		t.Error("touched: another place, want the same")
	}
	put(t, name+".new", "Host h\n  Port 1\n")
	os.Rename(name+".new", name)
	if sum("-F", name) != before {
		t.Error("replaced by an equal one: another place, want the same")
	}
	put(t, name, "Host h\n  Port 2\n")
	os.Chtimes(name, old, old)
	if sum("-F", name) == before {
		t.Error("changed, with the times set back: the same place, want another")
	}
}

// Only what has changed is read again.
func TestCache(t *testing.T) {
	dir := files(t, map[string]string{"a": "Port 1\n"})
	c := cache[*content]{read: readContent}
	name := filepath.Join(dir, "a")
	first := c.get(name)
	if c.get(name) == first {
		t.Error("a file of now: taken from the cache, want it read again")
	}
	c.entries[name].settled = true // as after some seconds
	kept := c.entries[name].value
	if c.get(name) != kept {
		t.Error("an old file: read again, want it from the cache")
	}
	put(t, name, "Port 2\n")
	if c.get(name) == kept {
		t.Error("a changed file: taken from the cache, want it read again")
	}
}

func TestUnsure(t *testing.T) {
	for text, want := range map[string]bool{
		"Match exec \"true\"\n": true, "Match host h !exec true\n": true,
		"Match host h exec=true\n": true, "Match localnetwork 10.0.0.0/8\n": true,
		"CanonicalizeHostname yes\n": true, "canonicalizehostname=always\n": true,
		"CanonicalizeHostname no\n": false,
		"Match host exec\n":         true, "Match all\n": false, "Host exec\n": false,
		"# Match exec x\n": false, "Match final all\n": false,
	} {
		if got := parse(text).unsure; got != want {
			t.Errorf("%q: asks ssh %v, want %v", text, got, want)
		}
	}
}

func TestVariables(t *testing.T) {
	dir := files(t, map[string]string{"config": "Include DIR/more\nIdentityFile ${KEYS}/id\n" +
		"ProxyCommand $PROXY_TOOL %h\n# ${COMMENT}\n"})
	q := Query{Argv: []string{"ssh", "-F", filepath.Join(dir, "config"), "-o",
		"IdentityAgent=${AGENT}"}, Host: "h"}
	if got, want := Variables(q), []string{"AGENT", "KEYS", "PROXY_TOOL"}; !reflect.DeepEqual(got,
		want) {
		t.Errorf("got %q, want %q", got, want)
	}
	q.Env = func(name string) (string, bool) { return "1", true }
	one := Find(context.Background(), q)
	q.Env = func(name string) (string, bool) { return "2", true }
	if two := Find(context.Background(), q); one.Sum == two.Sum {
		t.Error("other values of variables: the same place, want another")
	}
}

func TestAbsolute(t *testing.T) {
	got := Absolute([]string{"-F", "c", "-vi", "k", "-i/abs", "-Fx", "-o", "IdentityFile=k", "-o",
		"UserKnownHostsFile a /b ~/c none", "-oControlPath=%d/x", "-o", "Port=1",
		"-S", "none", "-l", "F", "-J", "j", "-o", `CertificateFile "a b"`}, "/d")
	want := []string{"-F", "/d/c", "-vi", "/d/k", "-i/abs", "-F/d/x", "-o", "IdentityFile=/d/k", "-o",
		"UserKnownHostsFile=/d/a /b ~/c none", "-oControlPath=%d/x", "-o", "Port=1",
		"-S", "none", "-l", "F", "-J", "j", "-o", `CertificateFile="/d/a b"`}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRelative(t *testing.T) {
	for text, want := range map[string]bool{"IdentityFile keys/id\n": true,
		"IdentityFile ~/id\n": false, "UserKnownHostsFile /a b\n": true, "ControlPath none\n": false,
		"Port 1\n":                         false,
		"ProxyCommand ssh -W %h:%p jump\n": false, "ProxyCommand /bin/nc -X 5 %h %p\n": false,
		"ProxyCommand ssh -F my.cfg -W %h:%p jump\n":  true,
		"ProxyCommand ./way %h %p\n":                  true,
		"ProxyCommand ssh -i keys/id -W %h:%p jump\n": true,
		"ProxyCommand ssh -F ~/c -W %h:%p jump\n":     false} {
		if got := parse(text).relative; got != want {
			t.Errorf("%q: depends on the directory %v, want %v", text, got, want)
		}
	}
}

func BenchmarkFind(b *testing.B) {
	dir := b.TempDir()
	config := filepath.Join(dir, "config")
	text := "Include " + dir + "/more*\n"
	for i := range 20 {
		text += fmt.Sprintf("Host h%d\n  HostName 10.0.0.%d\n  User u\n  Port 22\n", i, i)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("more", i)),
			fmt.Appendf(nil, "Host other%d\n  Port %d\n", i, i+1), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	q := Query{Argv: []string{"ssh", "-F", config}, Host: "h"}
	for b.Loop() {
		Find(context.Background(), q)
	}
}
