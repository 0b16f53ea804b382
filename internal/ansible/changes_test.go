package ansible

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/jsonline"
	"github.com/mitogen-go/mitogen/report"
)

// newHomeBench is one whose contexts have a home of their own.
func newHomeBench(t *testing.T) (b *bench, c *jsonline.Conn, home string) {
	t.Helper()
	home = t.TempDir()
	t.Setenv("HOME", home)
	b = newBench(t, "/usr/bin/python3")
	c, _ = b.dial()
	return b, c, home
}

// context is the process id of the context that a command is executed in.
func (b *bench) context(c *jsonline.Conn) string {
	b.t.Helper()
	inner := "echo $PPID"
	stdout, stderr, end := b.ask(c, &Message{Do: "exec", Command: inner, Inner: &inner})
	if end.Error != nil || end.Status != 0 || stdout == "" {
		b.t.Fatalf("exec of %q: got stdout %q, stderr %q, end %+v; want a pid and status 0",
			inner, stdout, stderr, end)
	}
	return strings.TrimSpace(stdout)
}

// stays returns the context that two commands in a row are executed in. Files of the whole machine
// may change meanwhile: then it looks again.
func (b *bench) stays(c *jsonline.Conn) string {
	b.t.Helper()
	last := b.context(c)
	for range 5 {
		next := b.context(c)
		if next == last {
			return next
		}
		last = next
	}
	b.t.Fatal("each command has a context of its own")
	return ""
}

// What an account's next login would take in leads to a context that starts anew.
func TestWatched(t *testing.T) {
	out, err := exec.Command("/usr/bin/python3", "-c",
		"import sys; print('.local/lib/python%d.%d/site-packages' % sys.version_info[:2])").Output()
	if err != nil {
		t.Fatal(err)
	}
	site := strings.TrimSpace(string(out))
	b, c, home := newHomeBench(t)
	for _, step := range []struct {
		name string
		do   func(path string) error
	}{
		{".profile", write("A=1")},
		{".profile", write("A=12")}, // in its place
		{".profile", os.Remove},
		{".bashrc", write("")},
		{".zshenv", write("")},
		{".pam_environment", write("")},
		{".config/fish/conf.d", mkdir},
		{".config/fish/conf.d/a.fish", write("")},
		{".config/fish/conf.d/a.fish", write("a")},
		{site, mkdir},
		{site + "/x.pth", write("/tmp")},
		{site + "/x.pth", write("/usr")},
	} {
		before := b.stays(c)
		if err := step.do(filepath.Join(home, step.name)); err != nil {
			t.Fatal(err)
		}
		if after := b.context(c); after == before {
			t.Errorf("%s: the same context", step.name)
		}
	}
	before := b.stays(c)
	for _, name := range []string{site + "/package", ".ansible", "work"} {
		if err := mkdir(filepath.Join(home, name)); err != nil {
			t.Fatal(err)
		}
	}
	if after := b.context(c); after != before && b.stays(c) != after {
		t.Error("a package, a directory: another context")
	}
}

func write(text string) func(string) error {
	return func(path string) error { return os.WriteFile(path, []byte(text), 0o600) }
}

func mkdir(path string) error { return os.MkdirAll(path, 0o700) }

// Where something changes all the time, jobs are done all the same.
func TestChangesWithoutEnd(t *testing.T) {
	b, c, home := newHomeBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ctx.Err() == nil; n++ {
			write(strings.Repeat("#", n%1000))(filepath.Join(home, ".profile"))
			time.Sleep(time.Millisecond)
		}
	}()
	defer func() { cancel(); <-done }()
	for range 8 {
		b.context(c)
	}
}

// An account's idle contexts end before something changes the account.
func TestFarewell(t *testing.T) {
	for _, c := range []struct {
		module, text string
		gone         bool
	}{
		{"ansible.modules.user", `{"name": "app", "uid": 1234}`, true},
		{"ansible.modules.user", `{"name": "other", "groups": "app"}`, true},
		{"ansible.modules.group", `{"name": "app", "gid": 1234}`, true},
		{"ansible.modules.command", `{"_raw_params": "usermod -d /srv/app app"}`, true},
		{"", "/usr/sbin/userdel -r app", true},
		{"", "deluser app; true", true},
		{"", "pkill -u app", true},
		{"", "usermod -L apps", false},
		{"", "usermod -L my-app", false},
		{"", "echo app", false},
		{"ansible.modules.user", `{"name": "application"}`, false},
		{"ansible.modules.copy", `{"content": "app", "dest": "/x"}`, false},
	} {
		b := newBench(t, "/usr/bin/python3")
		s := &Session{s: b.s, way: b.way}
		h, err := s.host()
		if err != nil {
			t.Fatal(err)
		}
		l, _ := h.find(leafKey{"app's", ""})
		if err := h.open(t.Context(), b.s.eng, l, nil, nil); err != nil {
			t.Fatal(err)
		}
		l.user = "app"
		s.farewell(t.Context(), c.module, []byte(c.text))
		if l.ctx.Err() != nil {
			t.Errorf("%s %s: while it is in use", c.module, c.text)
		}
		h.release(l)
		s.farewell(t.Context(), c.module, []byte(c.text))
		if gone := l.ctx.Err() != nil; gone != c.gone {
			t.Errorf("%s %s: gone %v", c.module, c.text, gone)
		}
		h.done()
	}
}

// idleLeaf is a leaf of the user app that has started and that nothing uses, and its host, in use.
func (b *bench) idleLeaf() (*Session, *host, *leaf) {
	b.t.Helper()
	s := &Session{s: b.s, way: b.way}
	h, err := s.host()
	if err != nil {
		b.t.Fatal(err)
	}
	l, _ := h.find(leafKey{"app's", ""})
	if err := h.open(b.t.Context(), b.s.eng, l, nil, nil); err != nil {
		b.t.Fatal(err)
	}
	if err := l.ctx.Connected(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	l.user = "app"
	h.release(l)
	return s, h, l
}

// A login that is given up ends with the contexts of accounts behind it.
func TestFarewellOfRetired(t *testing.T) {
	for name, giveUp := range map[string]func(b *bench, s *Session, h *host){
		"retired":  func(b *bench, s *Session, h *host) { b.s.retire(h); h.done() },
		"done":     func(b *bench, s *Session, h *host) { h.done(); b.s.retire(h) },
		"reset":    func(b *bench, s *Session, h *host) { h.done(); s.asked = time.Now(); s.reset() },
		"idle":     func(b *bench, s *Session, h *host) { h.done(); b.s.CloseIdle(0) },
		"no space": func(b *bench, s *Session, h *host) { defer h.done(); fill(h) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, "/usr/bin/python3")
			s, h, l := b.idleLeaf()
			giveUp(b, s, h)
			if name != "no space" {
				select {
				case <-h.login.Done():
				case <-time.After(20 * time.Second):
					t.Error("the login is there")
				}
			}
			s.farewell(t.Context(), "ansible.modules.user", []byte(`{"name": "app"}`))
			if l.ctx.Err() == nil {
				t.Error("the account's context is there")
			}
		})
	}
}

// What changes an account waits for the end of a context that has been told to.
func TestFarewellWaits(t *testing.T) {
	for name, retired := range map[string]bool{"of a login that is given up": true,
		"of one that is used": false} {
		b := newBench(t, "/usr/bin/python3")
		s, h, l := b.idleLeaf()
		if h.done(); retired {
			b.s.retire(h)
		} else {
			h.leave("app")
		}
		s.farewell(t.Context(), "ansible.modules.user", []byte(`{"name": "app"}`))
		if l.ctx.Err() == nil {
			t.Errorf("%s: the account's context is there", name)
		}
	}
}

// fill gives a host as many leaves as there may be, and one more.
func fill(h *host) {
	for i := range maxLeaves {
		l, _ := h.find(leafKey{fmt.Sprint(i), ""})
		l.err = errGone
		close(l.ready)
	}
}

// Contexts of an account that has the same name on another host stay.
func TestFarewellOfOneHost(t *testing.T) {
	b := newBench(t, "/usr/bin/python3")
	session := func(name, target string) *Session {
		way := Way{{Target: target, Options: b.way[0].Options}}
		return &Session{s: b.s, name: name, key: name, way: way}
	}
	here := session("one", "exec:env A=1 sh")
	var leaves []*leaf
	sessions := []*Session{here, session("other", "exec:env A=2 sh"),
		session("alias", "exec:env A=1 sh"), session("third", "local")}
	for _, s := range sessions {
		h, err := s.host()
		if err != nil {
			t.Fatal(err)
		}
		l, _ := h.find(leafKey{"app's", ""})
		if err := h.open(t.Context(), b.s.eng, l, nil, nil); err != nil {
			t.Fatal(err)
		}
		l.user = "app"
		h.release(l)
		h.done()
		leaves = append(leaves, l)
	}
	here.farewell(t.Context(), "ansible.modules.user", []byte(`{"name": "app"}`))
	for i, gone := range []bool{true, false, true, false} {
		if got := leaves[i].ctx.Err() != nil; got != gone {
			t.Errorf("%s: gone %v, want %v", sessions[i].name, got, gone)
		}
	}
}

// TestMachines checks that two ways are the same machine if they lead to it by different accounts.
func TestMachines(t *testing.T) {
	same := func(a, b Way) bool { return machineOf(a) == machineOf(b) }
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{"web1", "deploy@web1", true},
		{"web1+sudo", "web1+su:app", true},
		{"web1", "web2", false},
		{"web1:22", "web1:2222", false},
		{"web1+docker:a", "web1+docker:b", false},
		{"web1+docker:a", "web1", false},
		{"local", "web1", false},
	} {
		if got := same(Way{{Target: tt.a}}, Way{{Target: tt.b}}); got != tt.same {
			t.Errorf("%s and %s: got %v, want %v", tt.a, tt.b, got, tt.same)
		}
	}
}

// startedAt is a host of its own, which began then.
func (b *bench) startedAt(began time.Time) *host {
	b.t.Helper()
	h, err := logIn(b.s.eng, "k", b.way, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	h.began = began
	return h
}

// Of sessions that find the same host stale, the first logs in anew for all. What else is there,
// and may be as old, goes too.
func TestOneLoginForAllThatAreStale(t *testing.T) {
	for name, direct := range map[string]bool{"login": false, "account's own": true} {
		b := newBench(t, "/usr/bin/python3")
		before := time.Now()
		old, other := b.startedAt(before), b.startedAt(before)
		b.s.hosts["k"], b.s.direct["k"] = old, other
		if direct {
			b.s.hosts["k"], b.s.direct["k"] = other, old
		}
		sessions := make([]*Session, 4)
		for i := range sessions {
			sessions[i] = &Session{s: b.s, way: b.way, key: "k", asked: before.Add(1)}
		}
		made := map[*host]bool{}
		for _, s := range sessions {
			tries := 0
			find := func() (*host, error) {
				if tries++; tries == 1 { // when no session had been answered yet
					old.mu.Lock()
					old.uses++
					old.mu.Unlock()
					return old, nil
				}
				return s.host()
			}
			err := s.retry(t.Context(), find, func(h *host) error {
				if h == old {
					return &report.CallError{Type: "StaleError"}
				}
				made[h] = true
				return nil
			})
			if err != nil {
				t.Errorf("%s: got error %v, want none", name, err)
			}
		}
		if len(made) != 1 || made[other] || !other.retired {
			t.Errorf("%s: got %d new logins, the other one retired %t, want 1 and true",
				name, len(made), other.retired)
		}
	}
}

// A reset is of what was there when it was asked for.
func TestReset(t *testing.T) {
	b := newBench(t, "/usr/bin/python3")
	asked := time.Now()
	old, fresh := b.startedAt(asked.Add(-1)), b.startedAt(asked.Add(1))
	s := &Session{s: b.s, way: b.way, key: "k", asked: asked}
	all := map[string]map[string]*host{"login": b.s.hosts, "account's own": b.s.direct}
	for name, hosts := range all {
		for h, want := range map[*host]*host{old: nil, fresh: fresh} {
			clear(b.s.hosts)
			clear(b.s.direct)
			hosts["k"] = h
			s.reset()
			if hosts["k"] != want {
				t.Errorf("%s, older %t: got %p, want %p", name, h == old, hosts["k"], want)
			}
		}
	}
	c, _ := b.dial()
	inner := "echo $PPID"
	m := &Message{Do: "exec", Command: inner, Inner: &inner}
	one, _, _ := b.ask(c, m)
	b.ask(c, &Message{Do: "reset"})
	if two, _, end := b.ask(c, m); one == "" || two == "" || one == two || end.Error != nil {
		t.Errorf("got contexts %q and %q, %+v, want two", one, two, end)
	}
}
