package modules

import (
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode"
)

// What a context may have of a package besides modules. If it was sent a third-party package, it
// may have every file but those whose names begin with a dot. The package is as public as its
// modules. In a directory of the user's own other things lie beside the code. There a context may
// have files only if it was sent code of the user's own that reads files of packages at all. The
// files must be of packages that it was sent; the innermost package that holds a file decides. It
// may not have
//
//   - modules that it was not sent,
//   - anything of a namespace package, which is any directory that lies there,
//   - what is called as keys, passwords and databases usually are, unless that code
//     quotes its name.

// maxElement bounds the bytes of each element of a path.
const maxElement = 255

// plain reports whether a path in a package may be looked for: no element begins with a dot, and
// none can mean another one to some file system.
func plain(name string) bool {
	if !fs.ValidPath(name) || len(name) > maxListedPath {
		return false
	}
	for element := range strings.SplitSeq(name, "/") {
		if element != "." && !plainElement(element) {
			return false
		}
	}
	return true
}

// ValidPath reports whether a path in a package may be looked for.
func ValidPath(name string) bool { return plain(name) && name != "." }

// maxListedPath bounds the bytes of a path in a package.
const maxListedPath = 4096

// dots are characters that some file systems take for a dot, or people do.
const dots = "\u2024\ufe52\uff0e\u3002\uff61"

func plainElement(s string) bool {
	if len(s) > maxElement || strings.ContainsAny(s, "\\\x00") || strings.TrimRight(s, ". ") != s {
		return false
	}
	first := true
	for _, r := range s {
		if first && (r == '.' || strings.ContainsRune(dots, r)) {
			return false
		}
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) ||
			r == unicode.ReplacementChar {
			return false
		}
		first = false
	}
	return true
}

// listed decides without a look at a file whether r may have anything of what name is in: the
// package, or one on the way to it, was sent.
func listed(r Reader, pkg, name string) bool {
	if check(pkg) != "" || !plain(name) {
		return false
	}
	dotted := pkg
	for {
		if r.Sent(dotted) {
			return true
		}
		if i := strings.LastIndexByte(dotted, '.'); i >= 0 {
			dotted = dotted[:i]
			continue
		}
		break
	}
	dotted = pkg
	for dir := range strings.SplitSeq(path.Dir(name), "/") {
		if dotted += "." + dir; check(dotted) != "" {
			return false
		}
		if r.Sent(dotted) {
			return true
		}
	}
	return false
}

// regular returns the directories in t that are packages with an __init__, on the way to directory
// dir, that one included.
func (p Pass) regular(t *tree, dir string) (all []string) {
	for i := 0; i <= len(dir); i++ {
		if i < len(dir) && dir[i] != '/' {
			continue
		}
		items, err := t.list(dir[:i], p.n)
		if err == nil && items == nil { // nor is there anything below it
			break
		}
		if err == nil && items["__init__"].loads() {
			all = append(all, strings.ReplaceAll(dir[:i], "/", "."))
		}
	}
	return all
}

// innermost returns the package in t that a file of pkg belongs to; "": it is in none that has an
// __init__.
func (p Pass) innermost(t *tree, pkg, name string) string {
	all := p.regular(t, path.Dir(path.Join(dirOf(pkg), name)))
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1]
}

// opens reports whether r may see what is in a directory of pkg in t.
func (p Pass) opens(r Reader, t *tree, pkg, name string) bool {
	dir := path.Join(dirOf(pkg), name)
	dotted := strings.ReplaceAll(dir, "/", ".")
	packages := p.regular(t, dir)
	switch {
	case t.Own && len(packages) == 0:
		return r.Sent(dotted)
	case t.Own:
		inner := packages[len(packages)-1]
		return path.Base(dir) != "__pycache__" && r.Sent(inner) && (r.Reads() || p.f.Served(inner))
	case len(packages) > 0:
		return r.Sent(packages[0]) || r.Sent(pkg)
	}
	return r.Sent(dotted)
}

// gives reports whether r may have a file of pkg in t.
func (p Pass) gives(r Reader, t *tree, pkg, name string) bool {
	if !p.opens(r, t, pkg, path.Dir(name)) {
		return false
	}
	if !t.Own {
		return true
	}
	if IsCode(name) {
		return r.Sent(moduleOf(pkg, name))
	}
	inner := p.innermost(t, pkg, name)
	return inner != "" && (!secretive(path.Base(name)) || r.Quotes(path.Base(name)) ||
		p.f.Served(inner))
}

// IsCode reports whether a file is, or is made of, a module.
func IsCode(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".py", ".pyc", ".pyo", ".pyw", ".so", ".pyd":
		return true
	}
	return false
}

// moduleOf returns the module that a file of pkg is, "" if it is none.
func moduleOf(pkg, name string) string {
	stem, ok := strings.CutSuffix(name, ".py")
	if !ok {
		return ""
	}
	dotted := pkg + "." + strings.ReplaceAll(stem, "/", ".")
	return strings.TrimSuffix(dotted, ".__init__")
}

// Names that files with keys, passwords and databases usually have.
var (
	secretSuffixes = []string{"~", ".age", ".asc", ".bak", ".cer", ".crt", ".db", ".der", ".dump",
		".env", ".gpg", ".htpasswd", ".jks",
		".kdbx", ".key", ".keystore", ".keytab", ".netrc", ".ovpn", ".p12", ".p8", ".pass",
		".passwd", ".password", ".passwords",
		".pem", ".pfx", ".pgpass", ".ppk", ".pwd", ".secret", ".secrets", ".sqlite", ".sqlite3",
		".swp", ".tfstate", ".tfvars",
		".token", ".vault"}
	secretStems = []string{"authorized_keys", "credential", "credentials", "dotenv", "env",
		"htpasswd", "id_dsa", "id_ecdsa", "id_ed25519",
		"id_rsa", "kubeconfig", "netrc", "passwd", "password", "passwords", "pgpass", "private_key",
		"secret", "secrets", "shadow",
		"token", "tokens", "vault"}
)

// secretive reports whether a file has such a name.
func secretive(base string) bool {
	base = strings.ToLower(base)
	stem, _, _ := strings.Cut(base, ".")
	return slices.Contains(secretStems, stem) || slices.ContainsFunc(secretSuffixes,
		func(suffix string) bool {
			return strings.HasSuffix(base, suffix)
		})
}
