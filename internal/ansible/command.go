package ansible

import (
	"strings"

	"github.com/mitogen-go/mitogen/internal/lazyregexp"
)

// words splits a command line as a POSIX shell does, without expanding anything. It fails on what
// has a meaning to a shell besides.
func words(line string) ([]string, bool) {
	var all []string
	var word strings.Builder
	begun := false
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == ' ':
			if begun {
				all = append(all, word.String())
				word.Reset()
			}
			begun = false
			continue
		case c == '\'':
			n := strings.IndexByte(line[i+1:], '\'')
			if n < 0 {
				return nil, false
			}
			word.WriteString(line[i+1 : i+1+n])
			i += n + 1
		case c == '"':
			n := strings.IndexByte(line[i+1:], '"')
			if n < 0 || strings.ContainsAny(line[i+1:i+1+n], "$`\\") {
				return nil, false
			}
			word.WriteString(line[i+1 : i+1+n])
			i += n + 1
		case strings.IndexByte("\t\n$`\\|&;<>()*?[]#~!{}", c) >= 0:
			return nil, false
		default:
			word.WriteByte(c)
		}
		begun = true
	}
	if begun {
		all = append(all, word.String())
	}
	return all, true
}

// unwrap returns what `/bin/sh -c '…'` executes, as Ansible writes that, without the sleep that it
// adds.
func unwrap(command string) (string, bool) {
	w, ok := words(command)
	if !ok || len(w) != 3 || w[0] != "/bin/sh" || w[1] != "-c" {
		return "", false
	}
	return strings.TrimSuffix(w[2], " && sleep 0"), true
}

var assignment = lazyregexp.New(`^[A-Za-z_][A-Za-z0-9_]*=`)

// interpreter reads "NAME=value … interpreter", which is what runs a module that is piped into it.
func interpreter(inner string) (python string, env map[string]any, ok bool) {
	w, ok := words(strings.TrimSpace(inner))
	if !ok || len(w) == 0 {
		return "", nil, false
	}
	env = map[string]any{}
	for ; len(w) > 1 && assignment.MatchString(w[0]); w = w[1:] {
		name, value, _ := strings.Cut(w[0], "=")
		if startup(name) {
			return "", nil, false
		}
		env[name] = value
	}
	if len(w) != 1 || !pythonName.MatchString(w[0]) {
		return "", nil, false
	}
	return w[0], env, true
}

var pythonName = lazyregexp.New(`^(/[\w.+@-]+)*/?(python|pypy)[\w.-]*$`)

// startup tells whether a variable matters to an interpreter that starts, or to the libraries it
// loads: setting it later isn't the same.
func startup(name string) bool {
	for _, p := range [...]string{
		"PYTHON", "LD_", "LC_", "LANG", "MALLOC_", "GLIBC_", "TZ", "HOME", "PATH",
		"OPENSSL_", "SSLKEYLOGFILE", "CTLOG_FILE", "QLOGDIR", "RANDFILE", // of OpenSSL, at its start
		// of C libraries
		"GCONV_", "LOCPATH", "NLSPATH", "CHARSETALIASDIR", "LOCALDOMAIN", "RES_OPTIONS", "HOSTALIASES",
		"NIS_PATH", "GETCONF_DIR",
	} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// File operations of the login account, which Ansible has a shell do. Only those in a directory
// that it has just named are done without.
var (
	plainPath = `(/(?:[\w.@+-]+/)*`
	tempName  = `ansible-tmp-[\d.]+-\d+-\d+)`
	mkdirLine = lazyregexp.New(`^\( umask 77 && mkdir -p "` + "` echo " + plainPath + `[\w.@+-]+) ` +
		"`" + `" ?&& mkdir "` + "` echo " + plainPath + tempName + " `" +
		`" && echo (ansible-tmp-[\d.]+-\d+-\d+)="` + "` echo " + plainPath + tempName + " `" + `" \)$`)
	rmLine    = lazyregexp.New(`^rm -f -r ` + plainPath + tempName + `/ > /dev/null 2>&1$`)
	chmodLine = lazyregexp.New(`^chmod (u\+x|u\+rwx) ((?:` +
		`/(?:[\w.@+-]+/)*ansible-tmp-[\d.]+-\d+-\d+/(?:[\w.@+-]+)? ?)+)$`)
	homeLine = lazyregexp.New(`^echo ~[\w.-]*$`)
)

// A step is a file operation, as python/ansible.py has them; stdout has the text that the shell
// would have printed.
type step struct {
	do     []any
	dir    string // temporary directory that it makes, or removes
	stdout string
}

// steps returns the operation that a command line of the login account is.
func steps(inner string) (step, bool) {
	if m := mkdirLine.FindStringSubmatch(inner); m != nil && m[2] == m[4] && m[2] == m[1]+"/"+m[3] {
		return step{do: []any{"mkdir", m[2]}, dir: m[2], stdout: m[3] + "=" + m[2] + "\n"}, true
	}
	if m := rmLine.FindStringSubmatch(inner); m != nil {
		return step{do: []any{"rm", m[1]}, dir: m[1]}, true
	}
	if m := chmodLine.FindStringSubmatch(inner); m != nil {
		bits := 0o100
		if m[1] == "u+rwx" {
			bits = 0o700
		}
		var paths []any
		for _, p := range strings.Fields(m[2]) {
			paths = append(paths, p)
		}
		return step{do: []any{"chmod", bits, paths}}, true
	}
	return step{}, false
}

// inTemp tells whether a file is in a temporary directory of Ansible's.
var inTemp = lazyregexp.New(`^` + plainPath + `ansible-tmp-[\d.]+-\d+-\d+/)[^/]+$`)
