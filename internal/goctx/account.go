package goctx

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
)

// An account is this process's, as the user database has it.
type account struct{ name, home, shell string }

const defaultShell = "/bin/sh"

// ownAccount looks the account up in /etc/passwd, then by getent, which knows of directories in the
// network. An unknown account is named by its number, and has / as its home.
func ownAccount() account {
	uid := strconv.Itoa(os.Getuid())
	if f, err := os.Open("/etc/passwd"); err == nil {
		a, found := inPasswd(f, uid)
		f.Close()
		if found {
			return a
		}
	}
	if out, err := exec.Command("getent", "passwd", uid).Output(); err == nil {
		if a, found := inPasswd(strings.NewReader(string(out)), uid); found {
			return a
		}
	}
	a := account{uid, "/", defaultShell}
	if u, err := user.Current(); err == nil && u.Uid == uid { // macOS has its own database
		a.name, a.home = u.Username, u.HomeDir
		if shell := os.Getenv("SHELL"); shell != "" {
			a.shell = shell
		}
	}
	return a
}

// inPasswd looks a user id up in text of passwd(5).
func inPasswd(r io.Reader, uid string) (a account, found bool) {
	for s := bufio.NewScanner(r); s.Scan(); {
		fields := strings.Split(s.Text(), ":")
		if len(fields) != 7 || fields[2] != uid {
			continue
		}
		a = account{fields[0], fields[5], fields[6]}
		if a.shell == "" {
			a.shell = defaultShell
		}
		return a, true
	}
	return a, false
}
