package lab

import (
	"errors"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"testing"
	"time"
)

// NewUser makes a user for one test, whose name is "mito" and what: no other test may use that. The
// user has the lab's password, a home, and sudo by it, with these settings of sudoers. It is
// removed when the test ends.
func (l *Lab) NewUser(t testing.TB, what, settings string) (name string) {
	t.Helper()
	name = "mito" + what
	rules := sudoersFile + "-" + what
	remove := func() error {
		os.Remove(rules)
		exec.Command("setpriv", As(name, "sudo", "-K")[1:]...).Run()
		return removeUser(name)
	}
	if err := remove(); err != nil { // of a test that was killed
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := remove(); err != nil {
			t.Error(err)
		}
	})
	text := "Defaults:" + name + " !lecture, " + settings + "\n" + name + " ALL=(ALL:ALL) ALL\n"
	draft := rules + ".new" // sudo reads no file with a dot in its name
	if err := errors.Join(os.RemoveAll(filepath.Join(file("home"), name)), l.addUser(name),
		os.WriteFile(draft, []byte(text), 0o440), os.Rename(draft, rules)); err != nil {
		t.Fatal(err)
	}
	return name
}

func (l *Lab) addUser(name string) error {
	home := filepath.Join(file("home"), name)
	if err := run("", "useradd", "-M", "-U", "-d", home, "-s", "/bin/sh", name); err != nil {
		return err
	}
	if err := os.Mkdir(home, 0o755); err != nil {
		return err
	}
	if err := run("", "chown", name+":", home); err != nil {
		return err
	}
	return run(name+":"+l.Password+"\n", "chpasswd")
}

// removeUser ends all processes of a user, and removes the user, if there is one.
func removeUser(name string) error {
	u, err := user.Lookup(name)
	if err != nil {
		return nil
	}
	for range 10 {
		endProcesses(u.Uid)
		if err = run("", "userdel", name); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return err
}
