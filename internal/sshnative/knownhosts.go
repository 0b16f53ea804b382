package sshnative

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/mitogen-go/mitogen/internal/methods"
)

// The markers of lines in lists of known hosts.
const (
	markCA      = "@cert-authority"
	markRevoked = "@revoked"
)

// A hostLine is a line of a list of known hosts that matches a name.
type hostLine struct {
	marker string
	key    ssh.PublicKey
}

// A knownFile is a list of known hosts.
type knownFile struct {
	name string
	text []byte
}

// readKnown reads files. Missing and unreadable ones are passed over. A file that can't be read for
// now, because this machine lacks descriptors or memory, is an error: its keys are known, and might
// be revoked.
func readKnown(names []string) (all []knownFile, err error) {
	for _, name := range names {
		text, err := os.ReadFile(name)
		switch {
		case methods.Shortage(err) != nil:
			return nil, err
		case err == nil:
			all = append(all, knownFile{name, text})
		}
	}
	return all, nil
}

// knownLines returns the lines of files that match a name, which has the form "[host]:port" unless
// the port is 22.
func knownLines(files []knownFile, name string) (all []hostLine, err error) {
	for _, file := range files {
		for line := range bytes.Lines(file.text) {
			l, matches, err := parseHostLine(string(bytes.TrimRight(line, "\n")), name)
			if err != nil {
				return nil, unsupported("%s: %v", file.name, err)
			}
			if matches {
				all = append(all, l)
			}
		}
	}
	return all, nil
}

const blanks = " \t"

// parseHostLine reads a line. Lines that ssh skips whatever they hold don't match. An error says
// that a line matches and that its key can't be read here.
func parseHostLine(line, name string) (l hostLine, matches bool, err error) {
	line = strings.TrimLeft(line, blanks)
	if line == "" || line[0] == '#' {
		return l, false, nil
	}
	if line[0] == '@' {
		l.marker, line = nextWord(line)
		if l.marker != markCA && l.marker != markRevoked || strings.HasPrefix(line, "@") {
			return l, false, nil
		}
	}
	hosts, rest := nextWord(line)
	if !matchesHosts(hosts, name) {
		return l, false, nil
	}
	typ, rest := nextWord(rest)
	blob, _ := nextWord(rest)
	raw, err := base64.StdEncoding.DecodeString(blob)
	if err == nil {
		l.key, err = ssh.ParsePublicKey(raw)
	}
	if err == nil && l.key.Type() != typ {
		err = fmt.Errorf("a key of type %s is called %s", l.key.Type(), typ)
	}
	return l, err == nil, err
}

func nextWord(line string) (word, rest string) {
	if i := strings.IndexAny(line, blanks); i >= 0 {
		return line[:i], strings.TrimLeft(line[i:], blanks)
	}
	return line, ""
}

// matchesHosts tells whether the first field of a line matches a name.
func matchesHosts(field, name string) bool {
	if strings.HasPrefix(field, "|") {
		parts := strings.Split(field, "|") // "", "1", salt, hash
		if len(parts) != 4 || parts[1] != "1" {
			return false
		}
		salt, err := base64.StdEncoding.DecodeString(parts[2])
		return err == nil && hashed(salt, name) == field
	}
	matches := false
	for _, pattern := range strings.Split(strings.ToLower(field), ",") {
		pattern, negated := strings.CutPrefix(pattern, "!")
		if matchPattern(pattern, strings.ToLower(name)) {
			if negated {
				return false
			}
			matches = true
		}
	}
	return matches
}

// hashed returns the first field of a line for a name that isn't to be read in it.
func hashed(salt []byte, name string) string {
	mac := hmac.New(sha1.New, salt)
	mac.Write([]byte(name))
	return "|1|" + base64.StdEncoding.EncodeToString(salt) + "|" +
		base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// matchPattern tells whether a pattern with * and ? matches all of a text.
func matchPattern(pattern, text string) bool {
	star, mark := -1, 0 // where to go on if a match fails after *
	p, t := 0, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0:
			mark++
			p, t = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// addHost adds a host's key to a file as ssh does. As with ssh, a file that can't be written is no
// reason not to connect.
func addHost(home, file, name string, key ssh.PublicKey, hash bool) error {
	if hash {
		salt := make([]byte, sha1.Size)
		rand.Read(salt)
		name = hashed(salt, name)
	}
	if dir := home + "/.ssh"; strings.HasPrefix(filepath.Clean(file), dir+"/") {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	line := name + " " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))) + "\n"
	if !endsLine(f) {
		line = "\n" + line
	}
	_, err = f.WriteString(line)
	return err
}

// endsLine tells whether a file is empty or its last line is complete.
func endsLine(f *os.File) bool {
	last := []byte{'\n'}
	if size, err := f.Seek(0, io.SeekEnd); err == nil && size > 0 {
		f.ReadAt(last, size-1)
	}
	return last[0] == '\n'
}
