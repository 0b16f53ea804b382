package sshconf

import (
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"unicode"

	"github.com/mitogen-go/mitogen/internal/lazyregexp"
)

// maxFile limits the part of a file that counts, in bytes.
const maxFile = 4 << 20

// content is the parsed text of a file.
type content struct {
	sum       [sha256.Size]byte
	includes  []string // patterns, as they stand there
	keys      []string // names of files with keys
	variables []string
	unsure    bool // more than files decides
	relative  bool // names begin in the directory of the process
	command   bool // a command is set for hosts
}

// contents are those of this process's files.
var contents = cache[*content]{read: readContent}

// missing is the content of a file that isn't there.
var missing = unreadable(syscall.ENOENT)

// unreadable says why a file can't be read.
func unreadable(err error) *content { return &content{sum: sha256.Sum256([]byte(err.Error()))} }

// readContent returns what a file says now. A file that can't be read says why.
func readContent(name string) (c *content, sure bool) {
	text, err := read(name)
	switch {
	case errors.Is(err, syscall.ENOENT):
		return missing, true
	case err != nil:
		return unreadable(err), false
	}
	return parse(text), true
}

func read(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", errors.Unwrap(err)
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return "", errors.New("no regular file")
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	return string(b), err
}

// parse finds in the text of a configuration what leads further.
func parse(text string) *content {
	c := &content{sum: sha256.Sum256([]byte(text))}
	for line := range strings.Lines(text) {
		c.line(line)
	}
	return c
}

// namesHere tells whether a command has names of files that begin in the directory of the process,
// as far as one can see.
func namesHere(command []string) bool {
	for i, w := range command {
		isFile := strings.Contains(w, "/") ||
			i > 0 && slices.Contains([]string{"-E", "-F", "-i", "-S"}, command[i-1])
		if isFile && !strings.HasPrefix(w, "-") && AbsoluteFile(w, "/") != w {
			return true
		}
	}
	return false
}

func (c *content) line(line string) {
	words := splitLine(line)
	if len(words) < 2 {
		return
	}
	for _, w := range words[1:] {
		c.variables = append(c.variables, variablesIn(w)...)
	}
	keyword := strings.ToLower(words[0])
	if slices.Contains(fileOptions, keyword) {
		c.relative = c.relative || slices.ContainsFunc(words[1:],
			func(w string) bool { return AbsoluteFile(w, "/") != w })
	}
	switch keyword {
	case "include":
		c.includes = append(c.includes, words[1:]...)
	case "remotecommand":
		c.command = true
	case "identityfile", "certificatefile":
		c.keys = append(c.keys, words[1])
	case "match":
		for _, w := range words[1:] {
			name, _, _ := strings.Cut(strings.TrimLeft(strings.ToLower(w), "!"), "=")
			c.unsure = c.unsure || name == "exec" || name == "localnetwork"
		}
	case "proxycommand": // may be another ssh
		c.relative = c.relative || namesHere(words[1:])
		if o := optionsOf(words[1:]); strings.HasPrefix(o.file, "/") || strings.HasPrefix(o.file, "~/") {
			c.includes = append(c.includes, o.file)
		}
	case "canonicalizehostname":
		c.unsure = c.unsure || !strings.EqualFold(words[1], "no")
	}
}

// variable is one of the environment's, for ssh or for the shell that it starts.
var variable = lazyregexp.New(`\$(?:\{(\w+)\}|(\w+))`)

// variablesIn returns the names of variables.
func variablesIn(word string) []string {
	if !strings.Contains(word, "$") {
		return nil
	}
	var all []string
	for _, m := range variable.FindAllStringSubmatch(word, -1) {
		all = append(all, m[1]+m[2])
	}
	return all
}

// splitLine reads a line as ssh does: a keyword, blanks or one = with blanks, words; quotes keep
// blanks, # begins a comment.
func splitLine(line string) []string {
	line = strings.TrimSpace(line)
	at := strings.IndexFunc(line, func(r rune) bool { return unicode.IsSpace(r) || r == '=' })
	if at <= 0 || line[0] == '#' {
		return nil
	}
	words := []string{strings.Trim(line[:at], `"`)}
	rest := strings.TrimSpace(line[at:])
	rest = strings.TrimSpace(strings.TrimPrefix(rest, "="))
	return append(words, splitWords(rest)...)
}

// splitWords reads words, each of which may have quotes and backslashes.
func splitWords(text string) []string {
	var all []string
	var word strings.Builder
	begun, quote := false, rune(0)
	end := func() {
		if begun {
			all = append(all, word.String())
		}
		word.Reset()
		begun = false
	}
	escaped := false
	for _, r := range text {
		switch {
		case escaped:
			if !strings.ContainsRune(`"'\ `, r) {
				word.WriteByte('\\')
			}
			word.WriteRune(r)
			escaped = false
		case r == '\\':
			escaped, begun = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote, begun = r, true
		case quote == 0 && unicode.IsSpace(r):
			end()
		case quote == 0 && !begun && r == '#':
			end()
			return all
		default:
			word.WriteRune(r)
			begun = true
		}
	}
	end()
	return all
}
