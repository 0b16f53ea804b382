package goctx

import (
	"bufio"
	"io"
	"os"
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
	if a, found := askGetent(uid); found {
		return a
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

// askGetent looks a user id up by getent.
func askGetent(uid string) (a account, found bool) {
	p := program{path: "getent", argv: []string{"getent", "passwd", uid}, env: environ()}
	f := &files{}
	err := f.open(&sessionSpec{Null: true})
	proc := (*os.Process)(nil)
	if err == nil {
		proc, err = p.start(f.child, nil)
	}
	f.closeTheirs()
	if err == nil {
		a, found = inPasswd(f.out, uid) // complaints come there too, in another form
	}
	f.closeOurs() // so that it ends, whatever it has left to say
	if proc != nil {
		proc.Wait()
	}
	return a, found
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
