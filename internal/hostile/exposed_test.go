package hostile

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/mitogen-go/mitogen/internal/lab"
)

func TestExposed(t *testing.T) {
	lab.Need(t)
	dir := t.TempDir() // below /tmp, and root's
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, mode := range map[string]os.FileMode{
		"closed": 0o755, "everybody": 0o777, "sticky": 0o777 | os.ModeSticky, "foreign": 0o755,
	} {
		if err := os.Mkdir(at(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(at(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(at("closed/sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"closed/file", "closed/written", "everybody/file", "sticky/file",
		"sticky/foreign", "foreign/file"} {
		if err := os.WriteFile(at(name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(at("closed/written"), 0o666); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{
		"closed/out": at("sticky/none"), "closed/in": "sub", "closed/up": "../sticky",
		"closed/round": "round",
	} {
		if err := os.Symlink(to, at(name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"foreign", "sticky/foreign"} {
		Hand(t, at(name), lab.Other)
	}
	j := &Judge{Made: map[string]bool{at("sticky/made"): true}}
	for path, exposed := range map[string]bool{
		"relative": true, "/tmp/mitogen-no-such-name": true,
		"/tmp": false, "/usr/lib/python3": false, "/dev/null": false, "/dev/null/x.zip/a.py": false,
		at("closed/file"): false, at("closed/file/below"): false, at("closed/written"): true,
		at("closed/none"): false, at("closed/none/below"): false,
		at("closed/in/none"): false, at("closed/up/none"): true, at("closed/up/../closed/none"): false,
		at("closed/out"): true, at("closed/round"): true,
		at("everybody/file"): true, at("everybody/none"): true,
		at("sticky/file"): false, at("sticky/none"): true, at("sticky/none/below"): true,
		at("sticky/foreign"): true, at("foreign"): true, at("foreign/file"): true,
		at("sticky/made/below"): false,
	} {
		if why := j.Exposed(path); (why != "") != exposed {
			t.Errorf("%s: got %q, want exposed: %v", path, why, exposed)
		}
	}
	if j.ExposedDirectory(at("everybody")) == "" || j.ExposedDirectory(at("closed")) != "" {
		t.Error("a directory is exposed if files of others can be in it, and only then")
	}
	j.Trusted = append(j.Trusted, UID(t, lab.Other))
	if why := j.Exposed(at("foreign/file")); why != "" {
		t.Errorf("of a trusted user: %s", why)
	}
}

// A trace says for each process what it does with paths while it is an interpreter.
func TestTrace(t *testing.T) {
	x := parse(7, `execve("/bin/sh", ["sh", "-c", "python3"], 0x7ffc /* 4 vars */) = 0
openat(AT_FDCWD</home>, "of-the-shell", O_RDONLY) = -1 ENOENT (No such file or directory)
execve("/usr/bin/python3", ["python3"], 0x55 /* 4 vars */) = 0
openat(AT_FDCWD</home>, "/tmp/\x61\"b", O_RDONLY|O_CLOEXEC) = 3</tmp/a>
readlink("relative", 0x7ffc, 4096)      = -1 EINVAL (Invalid argument)
newfstatat(3</tmp/a>, "", {st_mode=S_IFREG|0644, ...}, AT_EMPTY_PATH) = 0
openat(4</srv>, "below", O_RDWR|O_CREAT|O_EXCL, 0600) = 5</srv/below>
openat(AT_FDCWD</home>, "/var/tmp", O_RDONLY|O_PATH) = 9</var/tmp>
mkdir("/proc/self/fd/9/own", 0777)      = 0
mkdir("/tmp/there", 0777)               = -1 EEXIST (File exists)
rename("/tmp/from", "/tmp/to")          = 0
symlink("text", "/tmp/link")            = 0
clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLD, child_tidptr=0x7f) = 8
+++ exited with 0 +++
`)
	child := parse(8, `access("/x", R_OK) = 0
execve("/bin/true", ["true"], 0x5) = 0
access("/y", R_OK) = 0
`)
	traces := map[int]*trace{7: x, 8: child}
	if !inherits(traces, 8) || inherits(traces, 7) {
		t.Error("the child is Python from its beginning, its parent isn't")
	}
	var got []string
	for pid, x := range traces {
		for _, u := range x.python(inherits(traces, pid)) {
			text := u.Call + " " + u.Path
			if u.Makes() {
				text += " made"
			}
			got = append(got, text)
		}
	}
	want := []string{`openat /tmp/a"b`, "readlink /home/relative", "openat|O_EXCL /srv/below made",
		"openat /var/tmp", "mkdir /var/tmp/own made", "mkdir /tmp/there",
		"rename /tmp/from", "rename /tmp/to", "symlink /tmp/link", "access /x"}
	for _, w := range want {
		if i := slices.Index(got, w); i < 0 {
			t.Errorf("%s: missing in %q", w, got)
		} else {
			got = slices.Delete(got, i, i+1)
		}
	}
	if len(got) > 0 {
		t.Errorf("got more: %q", got)
	}
}
