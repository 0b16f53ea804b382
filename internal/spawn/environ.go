package spawn

import (
	"path/filepath"
	"slices"
	"strings"
)

// byPath are the variables that lead a shell to an interpreter, and an interpreter to code, before
// that runs any of ours. Those that are true hold a list.
var byPath = map[string]bool{
	"PATH": true, "PYTHONPATH": true, "PYTHONHOME": false, "PYTHONUSERBASE": false, "PYTHONPYCACHEPREFIX": false,
}

// absolute returns env without relative paths in variables of byPath: what is in the current
// directory may be another user's.
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
	return slices.DeleteFunc(env, func(entry string) bool { return entry == "" })
}
