package lab

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

func TestLogin(t *testing.T) {
	l := Need(t)
	for _, user := range append(users, "root", "mito") {
		out, err := exec.Command("ssh", "-F", l.Config, "-o", "BatchMode=yes", user,
			"id -un").CombinedOutput()
		want := strings.Replace(user+"\n", "mito\n", Free+"\n", 1)
		if err != nil || string(out) != want {
			t.Errorf("ssh %s: %v: %s", user, err, out)
		}
	}
}

func TestSudo(t *testing.T) {
	Need(t)
	argv := As(Free, "sudo", "-n", "id", "-u")
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil ||
		string(out) != "0\n" {
		t.Errorf("sudo as %s: got %v, output %s; want 0", Free, err, out)
	}
}

// Users of the lab, in the same process or in several, share it.
func TestShared(t *testing.T) {
	a := Need(t)
	b, err := Use()
	if err != nil {
		t.Fatal(err)
	}
	b.Release()
	if a.Pid != b.Pid || !a.works() {
		t.Errorf("second lab: got %+v and %+v, want one process that works", a, b)
	}
	if info, err := os.Stat(file("lab.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file with the passwords: %v %v", info, err)
	}
}

// A lab that another process uses is waited for, not taken down, if it seems not to work.
func TestUsedIsNotTakenDown(t *testing.T) {
	name := t.TempDir()
	var used []*os.File
	for _, test := range []struct {
		what        string
		used        bool
		after       int // looks until the lab works; 0: never
		works, fail bool
	}{
		{"works", true, 1, true, false}, {"works late", true, 3, true, false},
		{"never works", true, 0, false, true}, {"unused remains", false, 0, false, false},
	} {
		if test.used {
			f, err := lock(name, syscall.LOCK_SH)
			if err != nil {
				t.Fatal(err)
			}
			used = append(used, f)
		} else {
			for _, f := range used {
				f.Close()
			}
		}
		looks, wait := 0, time.Minute
		if test.fail {
			wait = 0
		}
		works, err := worksOrUnused(name, wait, func() bool { looks++; return looks == test.after })
		if works != test.works || (err != nil) != test.fail {
			t.Errorf("%s: got %t, %v, want %t, error: %t", test.what, works, err, test.works, test.fail)
		}
	}
}

// An account is for one process's tests at a time, all of them.
func TestAlone(t *testing.T) {
	l := Need(t)
	held := func() bool {
		f, err := lock(file("home/"+None), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			f.Close()
		}
		return err != nil
	}
	t.Run("tests", func(t *testing.T) {
		l.Alone(t, None)
		t.Run("another", func(t *testing.T) { l.Alone(t, None) })
		if !held() {
			t.Error("a test that goes on: got its account unlocked, want it locked")
		}
	})
	if held() {
		t.Error("after the tests: got their account locked, want it unlocked")
	}
}
