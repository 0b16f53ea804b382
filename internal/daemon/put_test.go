package daemon

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/mitogen-go/mitogen/internal/ansible"
	"github.com/mitogen-go/mitogen/internal/daemonclient"
	"github.com/mitogen-go/mitogen/internal/hostile"
	"github.com/mitogen-go/mitogen/internal/jsonline"
	"github.com/mitogen-go/mitogen/internal/lab"
)

// A put into a directory of another user's changes no file that the user exchanges the new one for.
func TestPutExchanged(t *testing.T) {
	lab.Need(t)
	d, _ := running(t, Options{})
	dir := t.TempDir()
	secret, theirs := filepath.Join(dir, "secret"), filepath.Join(dir, "theirs")
	must(t, os.WriteFile(secret, []byte("secret"), 0o600))
	must(t, os.Mkdir(theirs, 0o755))
	hostile.Hand(t, theirs, lab.Other)
	conn, ch := speak(t, d)
	defer conn.Close()
	must(t, ch.Write(&daemonclient.Message{Op: "put", Version: "1", Target: "local",
		Name: filepath.Join(theirs, "file"), Mode: 0o644}, nil))
	must(t, ch.Write(&daemonclient.Message{}, []byte("half")))
	var found []string
	eventually(t, "a new file", func() bool {
		found, _ = filepath.Glob(filepath.Join(theirs, ".mitogen-*"))
		return len(found) == 1
	})
	must(t, os.Remove(found[0])) // which its owner may do
	must(t, os.Symlink(secret, found[0]))
	hostile.Hand(t, found[0], lab.Other)
	must(t, ch.Write(&daemonclient.Message{EOF: true}, nil))
	if text := endOf(t, ch); !strings.Contains(text, "exchanged for another") {
		t.Errorf("put: got %q, want an error about the exchange", text)
	}
	st, err := os.Stat(secret)
	must(t, err)
	if text, _ := os.ReadFile(secret); st.Mode().Perm() != 0o600 || string(text) != "secret" {
		t.Errorf("root's own file: got mode %v and %q, want it as it was", st.Mode(), text)
	}
	if left, _ := os.ReadDir(theirs); len(left) != 0 {
		t.Errorf("put leaves %v behind", left)
	}
}

// A client that goes before it has said that its input is whole leaves no file, old or new,
// changed.
func TestPutCutOff(t *testing.T) {
	d, _ := running(t, Options{})
	dir := t.TempDir()
	for i, data := range []string{"", "half", strings.Repeat("half", 100_000)} {
		name := filepath.Join(dir, strconv.Itoa(i))
		must(t, os.WriteFile(name, []byte("old"), 0o600))
		conn, ch := speak(t, d)
		must(t, ch.Write(&daemonclient.Message{Op: "put", Version: "1", Target: "local", Name: name},
			nil))
		if data != "" {
			must(t, ch.Write(&daemonclient.Message{}, []byte(data)))
		}
		begun := func() int {
			found, _ := filepath.Glob(filepath.Join(dir, ".mitogen-*"))
			return len(found)
		}
		eventually(t, "a new file", func() bool { return begun() == 1 })
		conn.Close()
		eventually(t, "no new file", func() bool { return begun() == 0 })
		if text, err := os.ReadFile(name); string(text) != "old" {
			t.Errorf("%d bytes: the file has %q, %v", len(data), text, err)
		}
	}
}

// A client that never says that its input is whole keeps no program from its end.
func TestRunWithOpenInput(t *testing.T) {
	d, _ := running(t, Options{})
	for _, data := range []string{"", "unread", strings.Repeat("unread", 100_000)} {
		conn, ch := speak(t, d)
		run := &daemonclient.Message{Op: "run", Version: "1", Target: "local", Argv: []string{"x"}}
		must(t, ch.Write(run, []byte("pass")))
		if data != "" {
			must(t, ch.Write(&daemonclient.Message{}, []byte(data)))
		}
		if text := endOf(t, ch); text != "" {
			t.Errorf("%d bytes: got error %q, want none", len(data), text)
		}
		conn.Close()
	}
}

// What Ansible has root do to files isn't led elsewhere by a link of another user's, nor held up by
// a pipe.
func TestPlaybookOfAnothersLinks(t *testing.T) {
	lab.Need(t)
	d, _ := running(t, Options{})
	dir := t.TempDir()
	roots, theirs := filepath.Join(dir, "roots"), filepath.Join(dir, "theirs")
	const temp = "ansible-tmp-1.5-1-1"
	must(t, os.MkdirAll(filepath.Join(roots, temp), 0o700))
	must(t, os.WriteFile(filepath.Join(roots, temp, "file"), []byte("kept"), 0o600))
	must(t, os.Mkdir(theirs, 0o755))
	link, pipe := filepath.Join(theirs, "link"), filepath.Join(theirs, "pipe")
	must(t, os.Symlink(roots, link))
	hostile.Hand(t, link, lab.Other)
	must(t, syscall.Mkfifo(pipe, 0o666))
	at := filepath.Join(link, temp)
	made := "ansible-tmp-1.5-2-1"
	mkdir := "( umask 77 && mkdir -p \"` echo " + link + " `\"&& mkdir \"` echo " + link + "/" + made +
		" `\" && echo " + made + "=\"` echo " +
		link + "/" + made + " `\" )"
	chmod := "chmod u+x " + at + "/ " + at + "/file"
	remove := "rm -f -r " + at + "/ > /dev/null 2>&1"
	for name, c := range map[string]struct {
		m       *ansible.Message
		data    string
		refused bool // an error of its own; the other ones are told with the next request
	}{
		"put of a step": {&ansible.Message{Do: "put", Name: at + "/file", Mode: 0o600}, "theirs", false},
		"put": {&ansible.Message{Do: "put", Name: link + "/other", Mode: 0o600}, "theirs",
			true},
		"mkdir":         {&ansible.Message{Do: "exec", Command: mkdir, Inner: &mkdir}, "", false},
		"chmod":         {&ansible.Message{Do: "exec", Command: chmod, Inner: &chmod}, "", false},
		"rm":            {&ansible.Message{Do: "exec", Command: remove, Inner: &remove}, "", false},
		"get of a pipe": {&ansible.Message{Do: "get", Name: pipe}, "", true},
	} {
		conn, ch := speak(t, d)
		must(t, ch.Write(&daemonclient.Message{Op: "ansible", Protocol: ansible.Protocol, Target: "local",
			Host: "here"}, nil))
		must(t, ch.Write(c.m, nil))
		if c.data != "" {
			must(t, ch.Write(&ansible.Message{}, []byte(c.data)))
		}
		if c.m.Do != "get" {
			must(t, ch.Write(&ansible.Message{EOF: true}, nil))
		}
		must(t, ch.Write(&ansible.Message{Do: "exec", Command: "true", EOF: true}, nil))
		var said []string
		for range 2 {
			said = append(said, endOf(t, ch))
		}
		if all := strings.Join(said, " "); c.refused && said[0] == "" ||
			name != "rm" && !strings.Contains(all, "link of user") && !strings.Contains(all, "not a file") {
			t.Errorf("%s: got %q, want an error", name, said)
		}
		conn.Close()
		st, err := os.Stat(filepath.Join(roots, temp, "file"))
		must(t, err)
		if text, _ := os.ReadFile(filepath.Join(roots, temp, "file")); st.Mode().Perm() != 0o600 ||
			string(text) != "kept" {
			t.Errorf("%s: root's own file has mode %v and %q, want it as it was", name, st.Mode(), text)
		}
		if all, _ := os.ReadDir(roots); len(all) != 1 {
			t.Errorf("%s: root's own directory has %v, want nothing new", name, all)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// speak connects to a daemon.
func speak(t testing.TB, d *daemonclient.Client) (net.Conn, *jsonline.Conn) {
	t.Helper()
	conn, err := net.Dial("unix", d.Socket)
	must(t, err)
	return conn, jsonline.New(conn)
}

// endOf reads up to the end of a request and returns the text of its error.
func endOf(t testing.TB, ch *jsonline.Conn) string {
	t.Helper()
	for {
		m := &daemonclient.Message{}
		if _, err := ch.Read(m, nil); err != nil {
			t.Fatal(err)
		}
		if m.End != nil {
			if m.End.Error == nil {
				return ""
			}
			return m.End.Error.Text + m.End.Error.Why
		}
	}
}
