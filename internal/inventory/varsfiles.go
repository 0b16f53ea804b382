package inventory

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"go.yaml.in/yaml/v4"
)

// varsFiles reads group_vars and host_vars of a place for all groups and hosts. A file that can't
// be read is a problem of its hosts.
func (v *Inventory) varsFiles(place string) error {
	groups, err := v.varsDir(filepath.Join(place, "group_vars"))
	if err != nil {
		return err
	}
	for _, g := range v.groupOrder {
		vars, err := groups.of(g.name)
		g.problem = cmp.Or(g.problem, err)
		g.files = append(g.files, vars)
	}
	hosts, err := v.varsDir(filepath.Join(place, "host_vars"))
	if err != nil {
		return err
	}
	for _, h := range v.hostOrder {
		vars, err := hosts.of(h.Name)
		h.problem = cmp.Or(h.problem, err)
		h.files = append(h.files, vars)
	}
	return nil
}

// unshared is an error if another user's group_vars or host_vars are in a directory where everyone
// may write.
func unshared(dir string) error {
	st, err := os.Stat(dir)
	if err != nil || st.Mode().Perm()&0o002 == 0 {
		return err
	}
	for _, name := range []string{"group_vars", "host_vars"} {
		path := filepath.Join(dir, name)
		st, err := os.Lstat(path)
		if err != nil {
			continue
		}
		if owner, ok := st.Sys().(*syscall.Stat_t); !ok ||
			owner.Uid != 0 && int(owner.Uid) != os.Geteuid() {
			return &Error{File: path, Text: "belongs to another user, and everyone may write to its " +
				"directory"}
		}
	}
	return nil
}

// A varsDir is a directory of files with variables. nil is a missing directory.
type varsDir struct {
	v     *Inventory
	path  string
	names map[string]bool
}

func (v *Inventory) varsDir(path string) (*varsDir, error) {
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, nil
	case !st.IsDir():
		v.warn("%s: no directory, passed over", path)
		return nil, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, plainError(err))
	}
	d := &varsDir{v: v, path: path, names: map[string]bool{}}
	for _, e := range entries {
		d.names[e.Name()] = true
	}
	return d, nil
}

// of reads the variables of a host or group: the file of that name, with or without an end, or all
// files of a directory.
func (d *varsDir) of(name string) (map[string]Var, error) {
	if d == nil || name[0] == filepath.Separator {
		return nil, nil
	}
	vars := map[string]Var{}
	for _, ext := range yamlEnds {
		if !strings.ContainsRune(name, filepath.Separator) && !d.names[name+ext] {
			continue
		}
		path := filepath.Join(d.path, name+ext)
		st, err := os.Stat(path)
		if err != nil {
			continue
		}
		if st.IsDir() {
			return vars, d.all(path, vars, 0)
		}
		return vars, d.file(path, vars)
	}
	return nil, nil
}

// all reads the files of a directory and of those below, in the order of their names.
func (d *varsDir) all(path string, vars map[string]Var, depth int) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, plainError(err))
	}
	if depth > maxDepth {
		return &Error{File: path, Text: "directories are nested too deep"}
	}
	for _, e := range entries {
		if e.Name()[0] == '.' || strings.HasSuffix(e.Name(), "~") {
			continue
		}
		full, ext := filepath.Join(path, e.Name()), extension(e.Name())
		st, err := os.Stat(full)
		switch {
		case err != nil:
		case st.IsDir() && ext == "":
			err = d.all(full, vars, depth+1)
		case st.Mode().IsRegular() && slices.Contains(yamlEnds, ext):
			err = d.file(full, vars)
		}
		if err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}

func (d *varsDir) file(path string, vars map[string]Var) error {
	text, err := readFile(path)
	if err != nil {
		return err
	}
	top, err := document(path, text)
	if err != nil || top == nil {
		return err
	}
	r := &yamlReader{v: d.v, at: origin{file: path}}
	if top = follow(top); top.Kind != yaml.MappingNode {
		if none, err := r.falsy(top); err != nil || none {
			return err
		}
		return r.bad(top, "file: not a mapping of variables")
	}
	all, err := r.variables(top)
	for _, x := range all {
		vars[x.name] = x.Var
	}
	return err
}
