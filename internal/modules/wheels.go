package modules

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/mitogen-go/mitogen/internal/wheel"
)

// The RECORD of a wheel says which files the wheel has brought, and their hashes. WHEEL says what
// they fit, METADATA what the distribution needs.

// wheels are those that have brought extension modules to a tree.
type wheels struct {
	mu      sync.Mutex // protects following
	checked uint64     // the pass
	stamp   stamp      // of the tree's directory
	files   map[string]*brought
}

// brought is a file that a wheel has brought.
type brought struct {
	*installed
	hash string // as RECORD has it
	set  string // differs where any file that wheels have brought does
}

// installed is a wheel.
type installed struct {
	tags []wheel.Tag
	tops []string // the first elements of its files, without suffixes
	need []string // names of distributions that it needs, as they are compared
}

// setOf returns what tells sets of wheels apart by their lists of files.
func setOf(files map[string]*brought) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(h, "%q %q\n", name, files[name].hash)
	}
	return string(h.Sum(nil))
}

// broughtBy returns the wheel that has brought a file, one with extension modules.
func (t *tree) broughtBy(file string, n uint64) (*brought, bool) {
	w := &t.wheels
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.checked < n {
		st, err := fs.Stat(t.FS, ".")
		if err != nil || w.files == nil || !w.stamp.holds(st) {
			whole := false
			w.files, whole = t.readWheels()
			if err == nil {
				w.stamp = newStamp(st)
				w.stamp.fresh = w.stamp.fresh || !whole
			}
		}
		w.checked = n
	}
	b, ok := w.files[file]
	return b, ok
}

// readWheels reads the RECORD of each wheel with extension modules. whole is false while one is
// being installed: RECORD is written last.
func (t *tree) readWheels() (files map[string]*brought, whole bool) {
	files, whole = map[string]*brought{}, true
	entries, err := fs.ReadDir(t.FS, ".")
	if err != nil || t.Own {
		return files, true
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".dist-info") {
			continue
		}
		text, _, err := read(t.FS, e.Name()+"/WHEEL")
		tags := wheel.Tags(text)
		if err != nil || !wheel.Native(tags) {
			continue
		}
		record, _, err := read(t.FS, e.Name()+"/RECORD")
		if err != nil {
			whole = false
			continue
		}
		w := &installed{tags: tags}
		metadata, _, _ := read(t.FS, e.Name()+"/METADATA")
		for _, name := range wheel.Requires(metadata) {
			w.need = append(w.need, normal(name))
		}
		for file, hash := range wheel.Record(record) {
			if strings.Contains(path.Base(file), ".so") || path.Ext(file) == ".pyd" {
				files[file] = &brought{installed: w, hash: hash}
			}
			w.tops = addTop(w.tops, file)
		}
		slices.Sort(w.tops)
	}
	set := setOf(files)
	for _, b := range files {
		b.set = set
	}
	return files, whole
}

// addTop adds the top-level module that a file of a distribution belongs to.
func addTop(tops []string, file string) []string {
	first, _, below := strings.Cut(file, "/")
	if ext := path.Ext(file); ext != ".py" && ext != ".so" {
		return tops
	}
	if stem, _, dotted := strings.Cut(first, "."); !below {
		first = stem
	} else if dotted {
		return tops
	}
	if first == "" || slices.Contains(tops, first) {
		return tops
	}
	return append(tops, first)
}

// topsNear returns the top-level modules of a wheel and of the distributions that it needs.
func (t *tree) topsNear(from *brought) []string {
	tops := slices.Clone(from.tops)
	entries, err := fs.ReadDir(t.FS, ".")
	if err != nil {
		return tops
	}
	for _, e := range entries {
		name, ok := distribution(e.Name())
		if !ok || !slices.Contains(from.need, name) {
			continue
		}
		record, _, err := read(t.FS, e.Name()+"/RECORD")
		if err != nil {
			continue
		}
		for file := range wheel.Record(record) {
			tops = addTop(tops, file)
		}
	}
	return tops
}

// parts returns the extension modules that a distribution has outside its package, which is called
// name. The package is of no use with those of another version, which a target may have.
func (p Pass) parts(t *tree, name string) (names []string) {
	if t.Own || strings.Contains(name, ".") {
		return nil
	}
	items, err := t.list(".", p.n)
	if err != nil {
		return nil
	}
	for stem, i := range items {
		if len(i.natives) == 0 {
			continue
		}
		from, ok := t.broughtBy(i.natives[0], p.n)
		if ok && stem != name && slices.Contains(from.tops, name) {
			names = append(names, stem)
		}
	}
	slices.Sort(names)
	return names
}

// Beside returns for each of the top-level modules called names those of the distributions that
// have brought it, if these have more than that one.
func (f *Finder) Beside(names []string) map[string][]string {
	beside := map[string][]string{}
	for _, t := range f.trees {
		entries, err := fs.ReadDir(t.FS, ".")
		if err != nil || t.Own {
			continue
		}
		for _, e := range entries {
			if _, ok := distribution(e.Name()); !ok {
				continue
			}
			tops := t.topsOf(e.Name())
			for _, top := range tops {
				if len(tops) > 1 && slices.Contains(names, top) {
					beside[top] = append(beside[top], tops...)
				}
			}
		}
	}
	return beside
}

// Required returns the top-level modules of the distributions that those require which are called
// like tops, as far as they are installed and let through. Code in functions is likely to import
// them.
func (f *Finder) Required(tops []string) (names []string) {
	for _, t := range f.trees {
		entries, err := fs.ReadDir(t.FS, ".")
		if err != nil || t.Own {
			continue
		}
		dists := map[string]string{} // names as they are compared: directories
		for _, e := range entries {
			if name, ok := distribution(e.Name()); ok {
				dists[name] = e.Name()
			}
		}
		for _, top := range tops {
			own := dists[normal(top)]
			if own == "" {
				continue
			}
			text, _, err := read(t.FS, own+"/METADATA")
			if err != nil {
				continue
			}
			for _, need := range wheel.Requires(text) {
				if dir := dists[normal(need)]; dir != "" {
					names = append(names, t.topsOf(dir)...)
				}
			}
		}
	}
	names = slices.DeleteFunc(names,
		func(name string) bool { return !Valid(name) || !f.opt.serves(name) })
	slices.Sort(names)
	return slices.Compact(names)
}
