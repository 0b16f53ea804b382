package cli

import (
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// searched are variables whose elements lead to programs and modules. A context has absolute ones
// only.
var searched = []string{"PATH", "PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONPYCACHEPREFIX"}

// ownEnvironment is env as a context on this machine has it that this process has started. What
// isn't UTF-8 can't be passed on.
func ownEnvironment(env []string) map[string]string {
	own := map[string]string{}
	for _, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		if slices.Contains(searched, name) {
			relative := func(dir string) bool { return !filepath.IsAbs(dir) }
			value = strings.Join(slices.DeleteFunc(strings.Split(value, ":"), relative), ":")
			if value == "" {
				continue
			}
		}
		if name != "" && utf8.ValidString(entry) {
			own[name] = value
		}
	}
	return own
}
