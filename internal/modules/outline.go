package modules

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mitogen-go/mitogen/internal/lazyregexp"
)

// Root is the directory below which a target sees the files of the search path. It can't exist:
// nothing can be made below /dev/null.
const Root = "/dev/null"

// Bounds of an outline.
const (
	maxOutlined  = 65536    // names
	maxDepth     = 64       // directories in each other
	maxTexts     = 16 << 20 // bytes of files in one answer
	maxHead      = 64 << 10 // bytes of a distribution's fields
	outlineKept  = 5 * time.Second
	maxOutlines  = 256
	maxPoints    = 1024 // entry points of a distribution
	bytecodeName = "__pycache__"
)

// ErrTooMany is the error for a package with more files than an outline may have.
var ErrTooMany = errors.New("it has more than " + strconv.Itoa(maxOutlined) + " files")

// place returns the path under which a target sees a file of t.
func (t *tree) place(name string) string {
	return placeOf(t.label(name))
}

// unplaced is the directory for file systems that don't know where their files are.
const unplaced = "/embedded"

func placeOf(label string) string {
	if !filepath.IsAbs(label) {
		label = path.Join(unplaced, label)
	}
	return strings.TrimRight(Root+path.Join("/", filepath.ToSlash(label)), "/")
}

// Place returns the path under which a target sees the file of m, which is its __file__. It is
// below Root, unless m has no file.
func (m *Module) Place() string {
	if m.Path == "" || m.Path[0] == '<' {
		return m.Path
	}
	return placeOf(m.Path)
}

// outline is a list of directories and files: docs/protocol/modules.md, section 12, "Outlines".
type outline struct {
	text  bytes.Buffer
	blobs bytes.Buffer
	names int
	mod   int64 // of the directory
	whole bool  // what it doesn't have isn't given later either

	// of a distribution: its name, the normal names of its needs, and the groups of its entry points,
	// without those of scripts
	name     string
	requires []string
	groups   []string
}

func seconds(st fs.FileInfo) int64 { return max(0, st.ModTime().Unix()) }

// What a program would list in a directory that an outline doesn't have.
const (
	lacksNothing = ""
	lacksModules = "modules"
	lacksMore    = "lacks"
)

// dir adds a directory, which the files that follow are in, and what it lacks of all that a program
// would list there.
func (o *outline) dir(place string, st fs.FileInfo, lacks string) {
	o.mod = seconds(st)
	o.text.WriteString(place + "\x00" + strconv.FormatInt(o.mod, 10))
	if lacks != lacksNothing {
		o.text.WriteString("\x00" + lacks)
	}
	o.text.WriteByte('\n')
	o.names++
}

// file adds a file, with the beginning of its bytes if content isn't nil.
func (o *outline) file(name string, st fs.FileInfo, content []byte) {
	o.text.WriteString(name + "\x00" + strconv.FormatInt(st.Size(), 10))
	mod := seconds(st)
	if mod != o.mod || content != nil {
		o.text.WriteByte(0)
	}
	if mod != o.mod {
		o.text.WriteString(strconv.FormatInt(mod, 10))
	}
	if content != nil {
		o.text.WriteString("\x00" + strconv.Itoa(len(content)))
		o.blobs.Write(content)
	}
	o.text.WriteByte('\n')
	o.names++
}

// add adds what another outline has.
func (o *outline) add(other *outline) {
	o.text.Write(other.text.Bytes())
	o.blobs.Write(other.blobs.Bytes())
	o.names += other.names
}

// packed returns the outline as it is sent.
func (o *outline) packed() []byte {
	first := "part\n"
	if o.whole {
		first = "whole\n"
	}
	data := binary.BigEndian.AppendUint32(nil, uint32(len(first)+o.text.Len()))
	data = append(append(data, first...), o.text.Bytes()...)
	return deflate(append(data, o.blobs.Bytes()...))
}

// outlines keeps those of third-party packages for a short time, so that many targets that ask at
// once cost one walk.
type outlines struct {
	mu   sync.Mutex // protects following
	kept map[string]*keptOutline
}

// keptOutline is an outline. Its mutex is held while it is made: other goroutines wait for that.
type keptOutline struct {
	mu   sync.Mutex // protects following
	made time.Time
	data []byte
	err  error
	m    *Module // the same, as what goes in a bundle; nil: it was not wanted yet
}

// locked returns the outline of a package, which walk makes unless there is a recent one. Its
// mutex is held.
func (o *outlines) locked(pkg string, walk func() ([]byte, error)) *keptOutline {
	k := o.entry(pkg)
	k.mu.Lock()
	if k.made.IsZero() || time.Since(k.made) > outlineKept {
		k.data, k.err = walk()
		k.made, k.m = time.Now(), nil
	}
	return k
}

func (o *outlines) entry(pkg string) *keptOutline {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.kept == nil || len(o.kept) >= maxOutlines {
		o.kept = map[string]*keptOutline{}
	}
	k := o.kept[pkg]
	if k == nil {
		k = &keptOutline{}
		o.kept[pkg] = k
	}
	return k
}

// Outline returns the directories and files of package pkg that r may have, as they are sent. With
// "" for pkg it returns the files right beside modules of the user's own.
func (f *Finder) Outline(r Reader, pkg string) ([]byte, error) {
	if pkg == "" {
		return f.outlineBeside(r)
	}
	if !listed(r, pkg, "x") {
		return nil, ErrNoFile
	}
	p := f.Pass()
	places := p.holders(pkg, ".")
	walk := func() ([]byte, error) { return p.outline(r, places, pkg) }
	if own := func(t *tree) bool { return t.Own }; !r.Sent(pkg) || slices.ContainsFunc(places, own) {
		return walk() // what it has depends on what else was sent
	}
	k := f.outlines.locked(pkg, walk)
	defer k.mu.Unlock()
	return k.data, k.err
}

// Listed is a file of a package.
type Listed struct {
	Path string // in the package
	Size int64
}

// Files returns the files in the outline of package pkg, in the first place that has it.
func (f *Finder) Files(r Reader, pkg string) (files []Listed, err error) {
	data, err := f.Outline(r, pkg)
	if err != nil {
		return nil, err
	}
	data = inflate(data)
	text := string(data[4 : 4+binary.BigEndian.Uint32(data)])
	root, dir, seen := "", "", map[string]bool{}
	for line := range strings.Lines(text) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\x00")
		switch {
		case len(fields) < 2:
		case fields[0][0] == '/':
			if dir = fields[0]; root == "" || !strings.HasPrefix(dir+"/", root) {
				root = dir + "/"
			}
			dir = strings.TrimPrefix(dir+"/", root)
		case !seen[dir+fields[0]]:
			seen[dir+fields[0]] = true
			size, _ := strconv.ParseInt(fields[1], 10, 64)
			files = append(files, Listed{dir + fields[0], size})
		}
	}
	return files, nil
}

// sentAll stands for a context that was sent all of a third-party package.
type sentAll struct{}

func (sentAll) Any() bool          { return true }
func (sentAll) Names(string) bool  { return true }
func (sentAll) Sent(string) bool   { return true }
func (sentAll) Plugged() bool      { return false }
func (sentAll) Reads() bool        { return false }
func (sentAll) Quotes(string) bool { return false }
func (sentAll) Spells(string) bool { return false }

func (sentAll) Says(string) bool { return false }

func (sentAll) Runs(int64, func() []byte) bool { return false }

// listing returns the outline of a third-party package as what goes in a bundle with it.
func (p Pass) listing(name, pkg string) *Module {
	places := p.holders(pkg, ".")
	part := func(t *tree) bool { return t.Own || len(p.regular(t, dirOf(pkg))) == 0 }
	if len(places) == 0 || slices.ContainsFunc(places, part) {
		return missing(name, ErrNoFile.Error())
	}
	k := p.f.outlines.locked(pkg,
		func() ([]byte, error) { return p.outline(sentAll{}, places, pkg) })
	defer k.mu.Unlock()
	if k.err != nil {
		return missing(name, k.err.Error())
	}
	if k.m == nil {
		text := inflate(k.data)
		k.m = (&Module{Name: name, Path: places[0].label(dirOf(pkg)), Letter: Data, Source: text,
			Size: len(text), Scanned: true}).seal()
	}
	return k.m
}

// outline walks through a package in all places that have it.
func (p Pass) outline(r Reader, places []*tree, pkg string) ([]byte, error) {
	o := outline{whole: true}
	for _, t := range places {
		o.whole = o.whole && !t.Own && len(p.regular(t, dirOf(pkg))) > 0
		w := walker{p: p, r: r, t: t, pkg: pkg, o: &o}
		if err := w.walk(".", nil); err != nil {
			return nil, err
		}
	}
	if o.names == 0 {
		return nil, ErrNoFile
	}
	return o.packed(), nil
}

// walker makes the outline of a package in one place.
type walker struct {
	p   Pass
	r   Reader
	t   *tree
	pkg string
	o   *outline
}

// walk adds directory name and what is in it. chain has the real names of those that it is in.
func (w *walker) walk(name string, chain []string) error {
	at, ok := w.p.reach(w.t, w.pkg, name, func(name string) bool {
		return w.p.opens(w.r, w.t, w.pkg, name)
	})
	if !ok || slices.Contains(chain, at) || len(chain) > maxDepth {
		w.o.whole = false // a link leads out or around, where the Finder goes
		return nil
	}
	st, err := fs.Stat(w.t.FS, at)
	if err != nil || !st.IsDir() {
		return nil
	}
	entries, err := fs.ReadDir(w.t.FS, at)
	if err != nil {
		return nil
	}
	w.o.dir(w.t.place(path.Join(dirOf(w.pkg), name)), st, w.lacks(name, at, entries))
	var dirs []string
	for _, e := range entries {
		inner := join(name, e.Name())
		if !plain(inner) || e.Name() == bytecodeName || !w.p.f.serves(w.pkg, inner) {
			continue
		}
		if w.o.names >= maxOutlined {
			return ErrTooMany
		}
		if w.entry(inner, at, e) {
			dirs = append(dirs, inner)
		}
	}
	for _, dir := range dirs {
		if err := w.walk(dir, append(slices.Clip(chain), at)); err != nil {
			return err
		}
	}
	return nil
}

// lacks returns whether a directory of the user's own has modules that the reader may not have.
func (w *walker) lacks(name, at string, entries []fs.DirEntry) string {
	if !w.t.Own {
		return lacksNothing
	}
	for _, e := range entries {
		inner, file := join(name, e.Name()), join(at, e.Name())
		if e.IsDir() {
			inner, file = inner+"/__init__.py", file+"/__init__.py"
		}
		if path.Ext(file) != ".py" || !plain(inner) || !w.p.f.serves(w.pkg, inner) ||
			w.p.gives(w.r, w.t, w.pkg, inner) {
			continue
		}
		if st, err := fs.Stat(w.t.FS, file); err == nil && st.Mode().IsRegular() {
			return lacksModules
		}
	}
	return lacksNothing
}

// entry adds a file of a directory, if the reader may have it, and reports whether it is a
// directory.
func (w *walker) entry(name, dir string, e fs.DirEntry) (isDir bool) {
	st, err := e.Info()
	link := e.Type()&fs.ModeSymlink != 0
	if link {
		st, err = fs.Stat(w.t.FS, join(dir, e.Name()))
	}
	switch {
	case err != nil:
		return false
	case st.IsDir():
		return true
	case !st.Mode().IsRegular():
		return false
	}
	may := func(name string) bool { return w.p.gives(w.r, w.t, w.pkg, name) }
	if link {
		if _, ok := w.p.reach(w.t, w.pkg, name, may); !ok {
			w.o.whole = false // the Finder finds a module there
			return false
		}
	} else if w.t.Own && !may(name) { // a third-party package gives all its files
		return false
	}
	w.o.file(e.Name(), st, nil)
	return false
}

// contents of a distribution's directory that go with its outline: what is asked for at the start
// of programs. Of the first two only the fields go, without the text behind them.
var withOutline = []string{"METADATA", "PKG-INFO", "entry_points.txt", "top_level.txt"}

// Metadata of all distributions.

// distOutline is an outline of a distribution's directory, kept while that doesn't change.
type distOutline struct {
	made  time.Time
	stamp stamp
	o     *outline
}

// outlineOf returns the outline of a distribution's directory, or of the file that is one.
func (t *tree) outlineOf(dir string) *outline {
	st, err := fs.Stat(t.FS, dir)
	if err != nil {
		return nil
	}
	t.mu.Lock()
	kept := t.dists[dir]
	t.mu.Unlock()
	if kept != nil && kept.stamp.holds(st) && time.Since(kept.made) < outlineKept {
		return kept.o
	}
	o := &outline{}
	if st.IsDir() {
		t.outlineDist(o, dir, 0)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dists[dir] = &distOutline{time.Now(), newStamp(st), o}
	return o
}

// outlineDist adds a directory of metadata, links left out, and those in it.
func (t *tree) outlineDist(o *outline, dir string, depth int) {
	st, err := fs.Stat(t.FS, dir)
	if err != nil {
		return
	}
	entries, err := fs.ReadDir(t.FS, dir)
	if err != nil {
		return
	}
	o.dir(t.place(dir), st, lacksNothing)
	var dirs []string
	for _, e := range entries {
		st, err := e.Info()
		switch {
		case err != nil || !plainElement(e.Name()) || o.names >= maxOutlined:
		case st.IsDir() && depth < maxDepth && e.Name() != bytecodeName:
			dirs = append(dirs, join(dir, e.Name()))
		case st.Mode().IsRegular():
			o.file(e.Name(), st, t.content(o, dir, e.Name(), depth))
		}
	}
	for _, dir := range dirs {
		t.outlineDist(o, dir, depth+1)
	}
}

// content returns what goes along of a file of metadata, nil: nothing.
func (t *tree) content(o *outline, dir, name string, depth int) []byte {
	which := slices.Index(withOutline, name)
	if which < 0 || depth > 0 {
		return nil
	}
	data, _, err := read(t.FS, join(dir, name))
	if err != nil {
		return nil
	}
	if which < 2 {
		data = head(data)
		for _, line := range requirement.FindAllSubmatch(data, -1) {
			o.requires = append(o.requires, normal(string(line[1])))
		}
		if m := distName.FindSubmatch(data); m != nil {
			o.name = string(m[1])
		}
	}
	if name == "entry_points.txt" {
		o.groups = groupsOf(data)
	}
	if len(data) > maxHead {
		return nil
	}
	return append([]byte{}, data...)
}

// head returns the fields of a distribution's metadata, with the blank line behind them.
func head(data []byte) []byte {
	for _, blank := range []string{"\n\n", "\r\n\r\n"} {
		if i := bytes.Index(data, []byte(blank)); i >= 0 {
			return data[:i+len(blank)]
		}
	}
	return data
}

// dist is a distribution: the directory of its metadata, and where that is.
type dist struct {
	t   *tree
	dir string
}

// distributions returns those that r may have: those with a package that r may be given and policy
// lets through, and what these require.
func (f *Finder) distributions(r Reader) []dist {
	if !r.Any() {
		return nil
	}
	var found []dist
	byName := map[string][]int{}
	for _, t := range f.trees {
		entries, err := fs.ReadDir(t.FS, ".")
		if err != nil {
			continue
		}
		for _, e := range entries {
			name, ok := distribution(e.Name())
			if ok && plainElement(e.Name()) && len(found) < maxOutlined {
				byName[name] = append(byName[name], len(found))
				found = append(found, dist{t, e.Name()})
			}
		}
	}
	may := make([]bool, len(found))
	var todo []int
	for i, d := range found {
		if d.t.metadata(f, r, d.dir) || d.t.passes(f, d.dir) && d.t.wanted(r, d.dir) {
			may[i] = true
			todo = append(todo, i)
		}
	}
	for len(todo) > 0 {
		d := found[todo[0]]
		todo = todo[1:]
		for _, name := range d.t.requires(d.dir) {
			for _, i := range byName[name] {
				if !may[i] && found[i].t.passes(f, found[i].dir) {
					may[i] = true
					todo = append(todo, i)
				}
			}
		}
	}
	var all []dist
	for i, d := range found {
		if may[i] {
			all = append(all, d)
		}
	}
	return all
}

// passes reports whether policy lets a package of a distribution through.
func (t *tree) passes(f *Finder, dir string) bool {
	return slices.ContainsFunc(t.topsOf(dir), f.opt.serves)
}

// distName is the line with a distribution's name.
var distName = lazyregexp.New(`(?im)^Name:[ \t]*([A-Za-z0-9][A-Za-z0-9._-]*)`)

// groupsOf returns the groups of entry_points.txt, without those of scripts.
func groupsOf(text []byte) (groups []string) {
	for _, m := range points.FindAllSubmatch(text, maxPoints) {
		if group := strings.TrimSpace(string(m[1])); group != "" && group != "console_scripts" &&
			group != "gui_scripts" {
			groups = append(groups, group)
		}
	}
	return groups
}

// wanted reports whether code that r was given looks for an installed distribution: code of the
// user's own by its name, or any code by a group of its entry points, as programs look for plugins.
func (t *tree) wanted(r Reader, dir string) bool {
	o := t.outlineOf(dir)
	if o == nil || t.Own {
		return false
	}
	return o.name != "" && r.Spells(o.name) || slices.ContainsFunc(o.groups, r.Says)
}

// requirement is a line with a distribution that another one requires.
var requirement = lazyregexp.New(`(?im)^Requires-Dist:[ \t]*([A-Za-z0-9][A-Za-z0-9._-]*)`)

// requires returns the normal names of the distributions that one requires.
func (t *tree) requires(dir string) []string {
	o := t.outlineOf(dir)
	if o == nil {
		return nil
	}
	return o.requires
}

// Distributions returns the metadata of all distributions that r may have: an outline with the
// contents that programs usually ask for. tops are the packages and modules of those that aren't
// the user's own.
func (f *Finder) Distributions(r Reader) (data []byte, tops []string) {
	var all outline
	for _, d := range f.distributions(r) {
		if !d.t.Own {
			tops = append(tops, d.t.topsOf(d.dir)...)
		}
		if o := d.t.outlineOf(d.dir); o != nil && all.names < maxOutlined {
			all.add(o)
		}
	}
	return all.packed(), tops
}

// points matches the lines of entry_points.txt: [group], and name = module.
var points = lazyregexp.New(`(?m)^[ \t]*(?:\[([^\]\n]+)\]|[^=#\n]+=[ \t]*([\w.]+))`)

// Plugins returns the modules of the other entry points in the groups of which one is of a module,
// of those distributions whose metadata r was given.
func (f *Finder) Plugins(r Reader, module string) (names []string) {
	if !r.Plugged() {
		return nil
	}
	groups := map[string][]string{}
	for _, d := range f.distributions(r) {
		text, _, err := read(d.t.FS, d.dir+"/entry_points.txt")
		if err != nil {
			continue
		}
		group := ""
		for _, m := range points.FindAllSubmatch(text, maxPoints) {
			if len(m[1]) > 0 {
				group = string(m[1])
			} else if name := string(m[2]); Valid(name) {
				groups[group] = append(groups[group], name)
			}
		}
	}
	for group, all := range groups {
		if group != "console_scripts" && slices.Contains(all, module) {
			names = append(names, all...)
		}
	}
	return names
}

// OfDistributions returns an outline with one text file of each distribution that r may have, and
// its content, as far as all of them fit in an answer.
func (f *Finder) OfDistributions(r Reader, name string) ([]byte, error) {
	if !plain(name) || name == "." {
		return nil, ErrNoFile
	}
	var all outline
	for _, d := range f.distributions(r) {
		at, ok := d.t.inside(d.dir, name)
		if !ok || !plain(at) {
			continue
		}
		data, st, err := read(d.t.FS, at)
		above, statErr := fs.Stat(d.t.FS, d.dir)
		if err != nil || statErr != nil || all.blobs.Len()+len(data) > maxTexts {
			continue
		}
		all.dir(d.t.place(path.Join(d.dir, path.Dir(name))), above, lacksNothing)
		all.file(path.Base(name), st, append([]byte{}, data...))
	}
	return all.packed(), nil
}

// mentions are words by which code gets at the place of a module, its own or another one's.
var mentions = [][]byte{[]byte("__file__"), []byte("getfile("), []byte("getsourcefile("),
	[]byte("getabsfile("), []byte("get_filename("), []byte("submodule_search_locations"),
	[]byte("co_filename"), []byte(".origin"), []byte("testfile("), []byte("DocFileSuite("),
	[]byte("__path__")}

// notPlaces are uses of __path__ that have no file opened.
var notPlaces = lazyregexp.New(`__path__\s*(?:=|\+=)|extend_path\(__path__|["']__path__["']`)

// Mentions reports whether source has words by which code gets at the place of a module.
func Mentions(source []byte) bool {
	for _, word := range mentions[:len(mentions)-1] {
		if bytes.Contains(source, word) {
			return true
		}
	}
	word := mentions[len(mentions)-1]
	n := bytes.Count(source, word)
	return n > 0 && n > len(notPlaces.FindAllSubmatch(source, -1))
}
