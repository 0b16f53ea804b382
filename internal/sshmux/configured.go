package sshmux

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
)

// Where OpenSSH's own ssh looks, as systems install it. Another ssh may look elsewhere.
var (
	usualPrograms = []string{"/usr/bin/ssh", "/bin/ssh"}
	systemConfig  = "/etc/ssh/ssh_config"
)

// maxIncludes is ssh's limit of the depth of Include.
const maxIncludes = 16

// Configured tells whether there may be a ControlPath for an ssh with argv, from what argv and the
// files of ssh's configuration mention. It reads them, which is quicker than to ask ssh, and says
// true where it can't tell.
func Configured(argv []string) bool {
	program, err := exec.LookPath(argv[0])
	if err != nil || !slices.Contains(usualPrograms, program) {
		return true
	}
	for _, arg := range argv[1:] {
		if arg == "-S" || mentions([]byte(arg)) {
			return true
		}
	}
	me, err := user.Current()
	if err != nil {
		return true
	}
	own := filepath.Join(me.HomeDir, ".ssh")
	if i := slices.Index(argv, "-F"); i >= 0 && i+1 < len(argv) {
		return argv[i+1] != "none" && fileMentions(argv[i+1], own, me.HomeDir, 0)
	}
	return fileMentions(filepath.Join(own, "config"), own, me.HomeDir, 0) ||
		fileMentions(systemConfig, filepath.Dir(systemConfig), me.HomeDir, 0)
}

func mentions(text []byte) bool {
	return bytes.Contains(bytes.ToLower(text), []byte("controlpath"))
}

// fileMentions tells it of a file and those that it includes, whose names are relative to dir.
func fileMentions(name, dir, home string, depth int) bool {
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if err != nil || depth > maxIncludes || mentions(text) {
		return true
	}
	for line := range strings.Lines(string(text)) {
		words := strings.FieldsFunc(line,
			func(r rune) bool { return strings.ContainsRune(" \t\r\n=\"", r) })
		if len(words) == 0 || !strings.EqualFold(words[0], "include") {
			continue
		}
		for _, pattern := range words[1:] {
			if rest, ok := strings.CutPrefix(pattern, "~/"); ok {
				pattern = filepath.Join(home, rest)
			}
			if strings.ContainsAny(pattern, "%$~") {
				return true
			}
			if !filepath.IsAbs(pattern) {
				pattern = filepath.Join(dir, pattern)
			}
			names, err := filepath.Glob(pattern)
			if err != nil || slices.ContainsFunc(names,
				func(name string) bool { return fileMentions(name, dir, home, depth+1) }) {
				return true
			}
		}
	}
	return false
}
