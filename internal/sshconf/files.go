package sshconf

import (
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"

	"github.com/mitogen-go/mitogen/internal/lazyregexp"
)

// maxFile is how much of a file counts.
const maxFile = 4 << 20

// content is what a file says.
type content struct {
	sum       [sha256.Size]byte
	includes  []string // patterns, as they stand there
	keys      []string // names of files with keys
	variables []string
	unsure    bool // more than files decides
	relative  bool // names begin in the directory of the process
}

// status tells whether a file has been written since.
type status struct {
	dev, ino, size, mtime, ctime int64
	err                          string
}

// cache holds contents by name. The zero value is empty.
type cache struct {
	mu    sync.Mutex // protects following
	files map[string]*cached
}

type cached struct {
	status  status
	settled bool // another write would have shown in the status
	content *content
}

// coarse is longer than what the clocks of file systems may leave out.
const coarse = 2 * time.Second

// contents are those of this process's files.
var contents cache

// maxCached is how many files are remembered.
const maxCached = 10_000

// get returns what a file says now. A file that can't be read says why.
func (c *cache) get(name string) *content {
	st := statusOf(name)
	c.mu.Lock()
	old := c.files[name]
	c.mu.Unlock()
	if old != nil && old.status == st && old.settled {
		return old.content
	}
	began := time.Now()
	text, err := read(name)
	var now *content
	if err != nil {
		now = &content{sum: sha256.Sum256([]byte(err.Error()))}
	} else {
		now = parse(text)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.files == nil || len(c.files) >= maxCached {
		c.files = map[string]*cached{}
	}
	c.files[name] = &cached{st, st.err != "" || err == nil && began.UnixNano()-max(st.mtime, st.ctime) > int64(coarse), now}
	return now
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

func statusOf(name string) status {
	var st syscall.Stat_t
	if err := syscall.Stat(name, &st); err != nil {
		return status{err: err.Error()}
	}
	return statusFrom(&st)
}

// parse finds in the text of a configuration what leads further.
func parse(text string) *content {
	c := &content{sum: sha256.Sum256([]byte(text))}
	for line := range strings.Lines(text) {
		c.line(line)
	}
	return c
}

// namesHere tells whether a command has names of files that begin in the directory of the process, as far as one can see.
func namesHere(command []string) bool {
	for i, w := range command {
		isFile := strings.Contains(w, "/") || i > 0 && slices.Contains([]string{"-E", "-F", "-i", "-S"}, command[i-1])
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
		c.relative = c.relative || slices.ContainsFunc(words[1:], func(w string) bool { return AbsoluteFile(w, "/") != w })
	}
	switch keyword {
	case "include":
		c.includes = append(c.includes, words[1:]...)
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
	var all []string
	for _, m := range variable.FindAllStringSubmatch(word, -1) {
		all = append(all, m[1]+m[2])
	}
	return all
}

// splitLine reads a line as ssh does: a keyword, blanks or one = with blanks, words; quotes keep blanks, # begins a comment.
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
