package cli

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Bounds of what completion reads.
const (
	maxIncludes  = 16 // depth, as ssh's
	maxConfig    = 200
	maxConfigRow = 64 << 10
)

// sshHosts returns the host aliases in ssh's configuration, sorted: names that stand behind Host
// and are no patterns. file is read instead of the user's own and the system's; whatever can't be
// read or understood is passed over.
func sshHosts(file string) []string {
	home, err := os.UserHomeDir()
	if err != nil {
		home = "/nonexistent"
	}
	l := &hostLister{home: home, seen: map[string]bool{}}
	if file != "" {
		l.file(file, filepath.Join(home, ".ssh"), 0)
	} else {
		l.file(filepath.Join(home, ".ssh", "config"), filepath.Join(home, ".ssh"), 0)
		l.file("/etc/ssh/ssh_config", "/etc/ssh", 0)
	}
	slices.Sort(l.hosts)
	return slices.Compact(l.hosts)
}

type hostLister struct {
	home  string
	seen  map[string]bool // files
	hosts []string
}

// file reads one file; dir is where relative names of included ones start.
func (l *hostLister) file(name, dir string, depth int) {
	if depth > maxIncludes || l.seen[name] || len(l.seen) >= maxConfig {
		return
	}
	l.seen[name] = true
	if st, err := os.Stat(name); err != nil || !st.Mode().IsRegular() {
		return
	}
	f, err := os.Open(name)
	if err != nil {
		return
	}
	defer f.Close()
	rows := bufio.NewScanner(f)
	rows.Buffer(nil, maxConfigRow)
	for rows.Scan() {
		words := configWords(rows.Text())
		if len(words) < 2 {
			continue
		}
		switch strings.ToLower(words[0]) {
		case "host":
			l.names(words[1:])
		case "include":
			for _, pattern := range words[1:] {
				l.include(pattern, dir, depth)
			}
		}
	}
}

// names takes aliases. What a target can't hold is left out.
func (l *hostLister) names(words []string) {
	for _, w := range words {
		if !strings.ContainsAny(w, "*?!+,@:") {
			l.hosts = append(l.hosts, w)
		}
	}
}

func (l *hostLister) include(pattern, dir string, depth int) {
	if rest, ok := strings.CutPrefix(pattern, "~/"); ok {
		pattern = filepath.Join(l.home, rest)
	}
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join(dir, pattern)
	}
	files, err := filepath.Glob(pattern)
	if err != nil {
		return
	}
	for _, f := range files {
		l.file(f, dir, depth+1)
	}
}

// configWords splits a line into its keyword and arguments: blanks, or one = and blanks, behind the
// keyword, then blanks; double quotes keep blanks; # begins a comment.
func configWords(line string) []string {
	line = strings.TrimSpace(line)
	at := strings.IndexAny(line, " \t=")
	if at <= 0 || line[0] == '#' {
		return nil
	}
	words := []string{line[:at]}
	line = strings.TrimLeft(line[at:], " \t")
	line = strings.TrimPrefix(line, "=")
	for {
		line = strings.TrimLeft(line, " \t")
		if line == "" || line[0] == '#' {
			return words
		}
		word := line
		if quoted, ok := strings.CutPrefix(line, `"`); ok {
			word, line, _ = strings.Cut(quoted, `"`)
		} else if end := strings.IndexAny(line, " \t"); end >= 0 {
			word, line = line[:end], line[end:]
		} else {
			line = ""
		}
		words = append(words, word)
	}
}
