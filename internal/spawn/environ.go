package spawn

import (
	"path/filepath"
	"slices"
	"strings"
)

// byPath are the variables that lead a shell to an interpreter, and an interpreter to code, before
// that runs any of ours. Those that are true hold a list.
var byPath = map[string]bool{
	"PATH": true, "PYTHONPATH": true, "PYTHONHOME": false, "PYTHONUSERBASE": false,
	"PYTHONPYCACHEPREFIX": false,
}

// pathVariable has the whole of a PYTHONPATH with relative elements. A context that has it lets
// programs import from them, but nothing that the standard library has.
const pathVariable = "MITO_PATH"

// relativePath returns pathVariable as an entry for an environment, or "" if env has no PYTHONPATH
// with relative elements.
func relativePath(env []string) string {
	for _, entry := range env {
		value, ok := strings.CutPrefix(entry, "PYTHONPATH=")
		relative := func(p string) bool { return !filepath.IsAbs(p) }
		if ok && slices.ContainsFunc(filepath.SplitList(value), relative) {
			return pathVariable + "=" + value
		}
	}
	return ""
}

// absolute returns env without relative paths in variables of byPath. It adds a variable that has
// an interpreter leave the current directory alone from its start, since the files there may be
// another user's.
func absolute(env []string) []string {
	env = slices.Clone(env)
	for i, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		list, known := byPath[name]
		if !known {
			continue
		}
		all := filepath.SplitList(value)
		kept := slices.DeleteFunc(slices.Clone(all), func(p string) bool { return !filepath.IsAbs(p) })
		if len(kept) == 0 || !list && len(kept) < len(all) {
			env[i] = ""
			continue
		}
		env[i] = name + "=" + strings.Join(kept, string(filepath.ListSeparator))
	}
	env = slices.DeleteFunc(env, func(entry string) bool {
		return entry == "" || strings.HasPrefix(entry, "PYTHONSAFEPATH=")
	})
	return append(env, "PYTHONSAFEPATH=1")
}
