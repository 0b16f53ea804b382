package sshnative

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
)

// answer is a configuration of the account "me" on this machine.
func answer(values ...string) *config {
	const home = "/home/a b"
	c := &config{values: map[string][]string{}, defaults: &config{values: map[string][]string{
		"user": {"me"}, "userknownhostsfile": {home + knownHosts + " " + home + knownHosts2},
		"globalknownhostsfile": {"/etc/1 /etc/2"},
		"kexalgorithms": {"sntrup761x25519-sha512,curve25519-sha256," +
			"curve25519-sha256@libssh.org,diffie-hellman-group14-sha1"},
	}}}
	for _, line := range values {
		key, value, _ := strings.Cut(line, " ")
		c.values[key] = append(c.values[key], value)
	}
	return c
}

func TestExpand(t *testing.T) {
	c := answer("hostname h", "host n", "port 7", "user r")
	for name, want := range map[string]string{
		"/a/%h%n%p%r%u%%h": "/a/hn7rme%h", "~/k": "/home/a b/k", "%d/k": "/home/a b/k", "rel": "rel",
		"~other/k": "", "${HOME}/k": "", "/%k": "", "/%C": "", "/%": "", "/%i": "", "/%L": "", "~": "",
	} {
		got, err := c.expand(name)
		if got != want || (err == nil) != (want != "") || err != nil && !errors.Is(err, ErrUnsupported) {
			t.Errorf("expand(%q): got %q, %v, want %q", name, got, err, want)
		}
	}
}

func TestFiles(t *testing.T) {
	for _, tt := range []struct {
		line string
		want []string // nil: left to ssh
	}{
		{"userknownhostsfile /home/a b/.ssh/known_hosts /home/a b/.ssh/known_hosts2",
			[]string{"/home/a b/.ssh/known_hosts", "/home/a b/.ssh/known_hosts2"}},
		{"userknownhostsfile /home/a b/.ssh/known_hosts", nil},
		{"userknownhostsfile /x /y", nil},
		{"userknownhostsfile /x y", nil},
		{"userknownhostsfile /x", []string{"/x"}},
		{"userknownhostsfile none", []string{}},
		{"userknownhostsfile ~/x", nil},
		{"userknownhostsfile /%h", nil},
		{`userknownhostsfile "/x"`, nil},
		{"userknownhostsfile ", nil},
		{"globalknownhostsfile /etc/1 /etc/2", []string{"/etc/1", "/etc/2"}},
		{"globalknownhostsfile /etc/1 /etc/3", nil},
	} {
		key, _, _ := strings.Cut(tt.line, " ")
		got, err := answer(tt.line).files(key)
		if !slices.Equal(got, tt.want) || (err != nil) != (tt.want == nil) {
			t.Errorf("%s: got %q, %v, want %q", tt.line, got, err, tt.want)
		}
	}
}

func TestOffered(t *testing.T) {
	for list, want := range map[string]string{
		"sntrup761x25519-sha512,curve25519-sha256,curve25519-sha256@libssh.org," +
			"diffie-hellman-group14-sha1": "curve25519-sha256,curve25519-sha256@libssh.org",
		"sntrup761x25519-sha512,curve25519-sha256@libssh.org":                 "",
		"ecdh-sha2-nistp256,diffie-hellman-group18-sha512,ecdh-sha2-nistp384": "ecdh-sha2-nistp256",
		"diffie-hellman-group14-sha1":                                         "",
	} {
		if got := strings.Join(answer("kexalgorithms "+list).offered("kexalgorithms", able.KeyExchanges),
			","); got != want {
			t.Errorf("of %s: got %s, want %s", list, got, want)
		}
	}
}

func TestParseArguments(t *testing.T) {
	for line, want := range map[string]string{
		"ssh -T -F /c -o LogLevel=ERROR -l u -p 2 -- h": "/c",
		"ssh -F/c -- h":          "/c",
		"ssh -vF /c -- h":        "/c",
		"ssh -F /a -F /c -- h":   "/c",
		"ssh -o -F -- h":         "-",
		"ssh -v -- h":            "-",
		"ssh -W a:1 -- h":        "",
		"ssh -vW a:1 -- h":       "",
		"ssh -O check -- h":      "",
		"ssh -E log -- h":        "",
		"ssh other -- h":         "",
		"ssh -T h":               "",
		"ssh -p 2 other -v -- h": "",
		"ssh -i -W -- h":         "-",
	} {
		a, err := parseArguments(strings.Fields(line))
		if err == nil && a.file == "" {
			a.file = "-"
		}
		if a.file != want && !(err != nil && want == "") {
			t.Errorf("%s: got %q, %v, want %q", line, a.file, err, want)
		}
	}
}

func TestJumpArguments(t *testing.T) {
	for _, tt := range []struct{ before, last, want string }{
		{"", "h", "ssh -F /c -o ClearAllForwardings=yes -- h"},
		{"a,b", "u@dom@h:22", "ssh -l u@dom -p 22 -J a,b -F /c -o ClearAllForwardings=yes -- h"},
		{"", "ssh://u@h:7", "ssh -l u -p 7 -F /c -o ClearAllForwardings=yes -- h"},
		{"", "[::1]:7", "ssh -p 7 -F /c -o ClearAllForwardings=yes -- ::1"},
		{"", "[::1]", "ssh -F /c -o ClearAllForwardings=yes -- ::1"},
		{"", "::1", "ssh -F /c -o ClearAllForwardings=yes -- ::1"},
		{"", "-oProxyCommand=x", ""},
		{"", "-x@h", ""},
		{"", "%r@h", ""},
		{"", "gw-%n", ""},
		{"gw-%n", "h", ""},
	} {
		argv, err := arguments{"/c"}.jump("ssh", tt.before, tt.last)
		if got := strings.Join(argv, " "); got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("%s after %q: got %q, %v, want %q", tt.last, tt.before, got, err, tt.want)
		}
	}
}

// A key is added on a line of its own.
func TestAddHost(t *testing.T) {
	dir := t.TempDir()
	key, err := ssh.ParsePublicKey(sampleKey(t).Marshal())
	if err != nil {
		t.Fatal(err)
	}
	want := "h " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))) + "\n"
	for _, before := range []string{"", "x\n", "x"} {
		file := filepath.Join(dir, "known")
		write(t, file, before)
		if err := addHost(dir, file, "h", key, false); err != nil {
			t.Fatal(err)
		}
		got, _ := os.ReadFile(file)
		if before == "x" {
			before = "x\n"
		}
		if string(got) != before+want {
			t.Errorf("after %q: got %q", before, got)
		}
	}
	if err := addHost(dir, filepath.Join(dir, "missing", "known"), "h", key, false); err == nil {
		t.Error("a directory was made that isn't ~/.ssh")
	}
	file := filepath.Join(dir, ".ssh", "known_hosts")
	if err := addHost(dir, file, "h", key, true); err != nil {
		t.Error(err)
	}
	text, _ := os.ReadFile(file)
	if strings.Contains(string(text), "h ssh-") || len(mustLines(t, file, "h")) != 1 {
		t.Errorf("a hashed name became %q", text)
	}
}

func mustLines(t *testing.T, file, name string) []hostLine {
	t.Helper()
	files, err := readKnown([]string{file})
	if err != nil {
		t.Fatal(err)
	}
	lines, err := knownLines(files, name)
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// A changed file is seen at once, an included one too, by any number of calls.
func TestAskAgain(t *testing.T) {
	dir := t.TempDir()
	config, included := filepath.Join(dir, "config"), filepath.Join(dir, "included")
	argv := []string{"ssh", "-F", config, "--", "x"}
	write(t, config, "Include "+included+"\nHost x\nHostName first\n")
	for i, tt := range []struct{ file, text, want string }{
		{included, "", "first"},
		{included, "Host x\nHostName second\n", "second"},
		{included, "Host x\nHostName third1\n", "third1"},
		{config, "Host x\nHostName fourth\n", "fourth"},
		{config, "Match host x exec \"test -e " + included + "\"\nHostName fifth\n", "fifth"},
		{included, "-", "x"},
	} {
		write(t, tt.file, tt.text)
		if tt.text == "-" {
			os.Remove(tt.file)
		}
		var calls sync.WaitGroup
		for range 8 {
			calls.Go(func() {
				c, err := ask(t.Context(), argv)
				if err != nil || c.get("hostname") != tt.want {
					t.Errorf("after change %d: got %v, %v, want %s", i, c, err, tt.want)
				}
			})
		}
		calls.Wait()
	}
}

// ssh -G is told that there is a command, as a "Match sessiontype exec" asks for.
func TestAskAboutCommand(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "ssh")
	write(t, program, "#!/bin/sh\necho \"$*\" >>"+dir+"/asked\necho hostname x\n")
	os.Chmod(program, 0o700)
	_, err := Start(t.Context(), Options{Argv: []string{program, "-l", "me", "--", "x"},
		Command: "id"})
	if !errors.Is(err, ErrUnsupported) {
		t.Errorf("got %v, want an answer that says too little", err)
	}
	asked, _ := os.ReadFile(filepath.Join(dir, "asked"))
	if !strings.Contains(string(asked), "-G -l me -- x true\n") {
		t.Errorf("ssh was asked %q, want a command behind the host", asked)
	}
}

// Calls share a running ssh -G if the configuration hasn't changed since it began.
func TestQueriesAreShared(t *testing.T) {
	dir := t.TempDir()
	program, begin := filepath.Join(dir, "ssh"), filepath.Join(dir, "go")
	write(t, program, "#!/bin/sh\necho >>"+dir+"/runs\nuntil [ -e "+begin+
		" ];do sleep .01;done\necho hostname x\n")
	os.Chmod(program, 0o700)
	argv := []string{program, "--", "x"}
	first := enqueue(dir, "sum", argv)
	var all []*query
	for _, tt := range []struct {
		sum  string
		same *query // nil: another than the first
	}{{"sum", first}, {"sum", first}, {"changed", nil}, {"changed again", nil}, {"sum", first}} {
		q := enqueue(dir, tt.sum, argv)
		if (q == first) != (tt.same != nil) {
			t.Errorf("configuration %q during a query of \"sum\": got the query that goes on %v, want %v",
				tt.sum, q == first, tt.same != nil)
		}
		all = append(all, q)
	}
	write(t, begin, "")
	for _, q := range all {
		<-q.done
		if q.err != nil || q.c.get("hostname") != "x" {
			t.Errorf("got %v, %v, want the program's answer", q.c, q.err)
		}
	}
	if runs, _ := os.ReadFile(filepath.Join(dir, "runs")); len(runs) != 2 {
		t.Errorf("got %d runs of the program, want 2", len(runs))
	}
}

// An ssh -G that fails is the ssh program's to tell.
func TestAskFails(t *testing.T) {
	config := filepath.Join(t.TempDir(), "config")
	write(t, config, "NoSuchKeyword yes\n")
	if _, err := ask(t.Context(),
		[]string{"ssh", "-F", config, "--", "x"}); !errors.Is(err, ErrUnsupported) ||
		!strings.Contains(err.Error(), "nosuchkeyword") {
		t.Errorf("got %v, want ErrUnsupported with the words of ssh", err)
	}
}

// The library is quick with some ciphers. They come first, unless the user has set an order.
func TestQuickCiphers(t *testing.T) {
	const gcm, chacha = "aes128-gcm@openssh.com", "chacha20-poly1305@openssh.com"
	answer := func(ciphers string) *config {
		return &config{values: map[string][]string{"ciphers": {ciphers}, "macs": {"hmac-sha2-256"},
			"kexalgorithms": {"curve25519-sha256,curve25519-sha256@libssh.org"}}}
	}
	standard := answer(chacha + ",aes128-ctr," + gcm)
	for chosen, want := range map[string][]string{
		chacha + ",aes128-ctr," + gcm: {gcm, chacha, "aes128-ctr"},
		chacha + "," + gcm:            {chacha, gcm},
	} {
		c := answer(chosen)
		c.defaults = standard
		got, err := c.algorithms()
		if err != nil || !slices.Equal(got.Ciphers, want) {
			t.Errorf("ciphers %s: offered %v, want %v, error %v", chosen, got.Ciphers, want, err)
		}
	}
}
