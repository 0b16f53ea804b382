package cli

import (
	"errors"
	"io"
	"os"
	"testing"
	"time"
)

// What a killed `mitogen with` has left is removed by the next; what is in use, new or not ours
// isn't.
func TestSweepShims(t *testing.T) {
	at := t.TempDir()
	t.Setenv("TMPDIR", at)
	old := time.Now().Add(-time.Hour)
	directory := func(name string, mode os.FileMode, when time.Time) string {
		dir := at + "/" + name
		if err := errors.Join(os.Mkdir(dir, mode), os.WriteFile(dir+"/config", nil, 0o600),
			os.Chtimes(dir, when, when)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	left := directory("mitogen-with-1", 0o700, old)
	used := directory("mitogen-with-2", 0o700, old)
	stop, err := lockShims(used)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	kept := []string{used, directory("mitogen-with-3", 0o700, time.Now()),
		directory("mitogen-with-4", 0o750, old), directory("other-1", 0o700, old)}
	if err := os.Symlink(at+"/other-1", at+"/mitogen-with-5"); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o777, 0o770} { // other users could have put anything there
		if err := os.Chmod(at, mode); err != nil {
			t.Fatal(err)
		}
		if dir, err := makeShims(); err == nil {
			t.Errorf("mode %o of %s: got %s, want an error", mode, at, dir)
		}
		if _, err := os.Stat(left); err != nil {
			t.Errorf("mode %o of %s: removed: %v", mode, at, err)
		}
	}
	if err := os.Chmod(at, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	dir, err := makeShims()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(kept, dir) {
		if _, err := os.Stat(name); err != nil {
			t.Errorf("removed: %v", err)
		}
	}
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("got %v, want that %s is gone", err, left)
	}
}

// What is typed once nothing reads the pipe any more stays where it is, for the shell.
func TestFeedPipe(t *testing.T) {
	for _, tt := range []struct {
		name         string
		before       string // typed before the reader goes
		end          bool   // the keyboard ends instead
		early        bool   // the reader goes before anything is fed
		came, stayed string
	}{
		{"the reader goes", "once\n", false, false, "once\n", "later\n"},
		{"the reader has gone", "", false, true, "", "later\n"},
		{"the keyboard ends", "once\n", true, false, "once\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			keyboard, keys, err := os.Pipe()
			r, w, err2 := os.Pipe()
			if err := errors.Join(err, err2); err != nil {
				t.Fatal(err)
			}
			for _, f := range []*os.File{keyboard, keys, r, w} {
				defer f.Close()
			}
			if tt.early {
				r.Close()
			}
			done := make(chan struct{})
			go func() { feedPipe(w, keyboard); close(done) }()
			keys.WriteString(tt.before)
			came := make([]byte, len(tt.before))
			if io.ReadFull(r, came); string(came) != tt.came {
				t.Errorf("came: got %q, want %q", came, tt.came)
			}
			if tt.end {
				keys.Close()
			}
			if !tt.end {
				r.Close()
			}
			select {
			case <-done:
			case <-time.After(time.Minute):
				t.Fatal("it goes on after a minute, want an end")
			}
			keys.WriteString("later\n")
			keys.Close()
			if stayed, _ := io.ReadAll(keyboard); string(stayed) != tt.stayed {
				t.Errorf("stayed: got %q, want %q", stayed, tt.stayed)
			}
		})
	}
}

// An ssh says to whom it belongs.
func TestLender(t *testing.T) {
	t.Setenv(withVariable, "/run/mitogen-1/socket")
	for ssh, want := range map[string]string{"/tmp/mitogen-with-1/ssh": "mitogen with",
		"": "mitogen with", "/run/mitogen-1/ssh": "the task of Ansible that this ssh is for"} {
		t.Setenv("MITOGEN_SSH", ssh)
		if got := lender(); got != want {
			t.Errorf("%q: got %q, want %q", ssh, got, want)
		}
	}
}
