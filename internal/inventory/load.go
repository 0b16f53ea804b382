package inventory

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v4"
)

// maxFile bounds a file.
const maxFile = 64 << 20

// Load reads inventories into one, as Ansible does; later sources win. A source is a file, a
// directory of such, "-" for stdin, or a list of hosts with a comma in it. If Ansible alone can
// read one of them, all are given to ansible-inventory, which has to be installed then. group_vars
// and host_vars count beside each source and in the working directory. The error names file and
// line where it can. What concerns single hosts only, such as a line that can't be read, is an
// error of Chain for these. There, ansible-inventory is asked within ctx for hosts with encrypted
// group_vars or host_vars.
func Load(ctx context.Context, sources []string, stdin io.Reader) (*Inventory, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	v, err := loadAt(ctx, sources, stdin, dir)
	if err != nil {
		return nil, fmt.Errorf("inventory %w", err)
	}
	v.unused(dir)
	return v, nil
}

// loadAt reads sources; dir is the working directory, where Ansible expects a playbook.
func loadAt(ctx context.Context, sources []string, stdin io.Reader, dir string) (*Inventory,
	error) {
	why := configured(dir)
	if why == nil {
		v := New()
		err := v.read(ctx, sources, stdin, dir)
		if err == nil {
			v.decrypt = sync.OnceValues(func() (*Inventory, error) {
				why := &needsAnsible{File: strings.Join(sources, ", "), Text: "is encrypted"}
				return fromAnsible(ctx, sources, why)
			})
			return v, nil
		}
		if !errors.As(err, &why) {
			return nil, err
		}
	}
	return fromAnsible(ctx, sources, why)
}

// A needsAnsible is the error for a source that Ansible alone can read.
type needsAnsible Error

func (e *needsAnsible) Error() string { return (*Error)(e).Error() }

func (v *Inventory) read(ctx context.Context, sources []string, stdin io.Reader, dir string) error {
	var places []string
	for _, s := range sources {
		place, err := v.source(ctx, s, stdin)
		if err != nil {
			return err
		}
		if place != "" {
			places = append(places, place)
		}
	}
	if err := v.finish(); err != nil {
		if bad := (*Error)(nil); errors.As(err, &bad) {
			return err
		}
		return fmt.Errorf("%s: %w", strings.Join(sources, ", "), err)
	}
	if err := unshared(dir); err != nil {
		return err
	}
	for _, place := range append(places, dir) {
		if err := v.varsFiles(place); err != nil {
			return err
		}
	}
	return nil
}

// source reads one source. It returns the directory whose group_vars and host_vars count, if there
// is one.
func (v *Inventory) source(ctx context.Context, source string, stdin io.Reader) (string, error) {
	if source == "-" {
		text, err := io.ReadAll(io.LimitReader(stdin, maxFile))
		if err != nil {
			return "", err
		}
		return "", v.text(origin{file: "(standard input)"}, text)
	}
	st, err := os.Stat(source)
	if err != nil && strings.Contains(source, ",") {
		v.hostList(source)
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", source, plainError(err))
	}
	full, err := filepath.Abs(source)
	if err != nil {
		return "", err
	}
	if st.IsDir() {
		return full, v.directory(ctx, source, full)
	}
	return filepath.Dir(full), v.file(ctx, origin{file: source, source: full}, st)
}

// plainError is the error without the path that os adds.
func plainError(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}

// hostList adds hosts with commas between. They have no ranges.
func (v *Inventory) hostList(source string) {
	for word := range strings.SplitSeq(source, ",") {
		word = strip(word)
		name, port, ok := address(word)
		if !ok || strings.Contains(name, "[") {
			name, port = word, 0
		}
		if name != "" && v.hosts[name] == nil {
			v.add(v.groups["ungrouped"], name, port, origin{file: "(list)", source: source}).line = true
		}
	}
}

// directory reads all files of a directory, in the order of their names, but for those that Ansible
// ignores. As in Ansible, a file that nothing can be read from is no error.
func (v *Inventory) directory(ctx context.Context, dir, full string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if ignored(e.Name()) {
			continue
		}
		at := origin{file: filepath.Join(dir, e.Name()), source: filepath.Join(full, e.Name())}
		st, err := os.Stat(at.file)
		if err != nil {
			return fmt.Errorf("%s: %w", at.file, plainError(err))
		}
		if st.IsDir() {
			err = v.directory(ctx, at.file, at.source)
		} else {
			err = v.oneOfMany(ctx, at, st)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// oneOfMany reads a file of a directory.
func (v *Inventory) oneOfMany(ctx context.Context, at origin, st os.FileInfo) error {
	before := v.changes
	err := v.file(ctx, at, st)
	bad := (*Error)(nil)
	switch {
	case !errors.As(err, &bad):
		return err
	case v.changes == before:
		v.warn("%v: the file is passed over", err)
		return nil
	case bad.prose:
		v.warn("%v: the rest of the file is passed over", err)
		return nil
	}
	return err
}

// ignoredEnds are the ends of names that Ansible ignores in a directory.
var ignoredEnds = []string{".pyc", ".pyo", ".swp", ".bak", "~", ".rpm", ".md", ".txt", ".rst",
	".orig", ".cfg", ".retry"}

func ignored(name string) bool {
	return name[0] == '.' || slices.Contains([]string{"group_vars", "host_vars", "vars_plugins"},
		name) ||
		slices.ContainsFunc(ignoredEnds, func(end string) bool { return strings.HasSuffix(name, end) })
}

func (v *Inventory) file(ctx context.Context, at origin, st os.FileInfo) error {
	if st.Mode()&0o111 != 0 && st.Mode().IsRegular() && isProgram(at.file) {
		return v.script(ctx, at)
	}
	text, err := readFile(at.file)
	if err != nil {
		return err
	}
	return v.text(at, text)
}

// isProgram tells a script from a file that merely has its mode.
func isProgram(name string) bool {
	f, err := os.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, 4)
	n, _ := io.ReadFull(f, head)
	return bytes.HasPrefix(head[:n], []byte("#!")) || bytes.HasPrefix(head[:n], []byte("\x7fELF"))
}

// readFile reads a file. Only Ansible can read an encrypted one.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, plainError(err))
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("larger than %d MiB", maxFile>>20)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, plainError(err))
	}
	if bytes.HasPrefix(text, []byte("$ANSIBLE_VAULT")) {
		return nil, &needsAnsible{File: name, Text: "is encrypted"}
	}
	return text, nil
}

// yamlEnds are the ends of names of which Ansible tries YAML. "" is a name without an end.
var yamlEnds = []string{"", ".yml", ".yaml", ".json"}

// extension is a name's end, without which a leading dot leaves it.
func extension(name string) string {
	return filepath.Ext(strings.TrimLeft(filepath.Base(name), "."))
}

// text reads YAML if it is a mapping, else INI.
func (v *Inventory) text(at origin, text []byte) error {
	ext := extension(at.file)
	if ext == ".toml" {
		return &needsAnsible{File: at.file, Text: "is TOML"}
	}
	if !slices.Contains(yamlEnds, ext) {
		return v.ini(at, text)
	}
	top, err := document(at.file, text)
	if err == nil && top != nil && top.Kind == yaml.MappingNode && len(top.Content) > 0 {
		return v.mappingOfGroups(at, top)
	}
	begin := strings.TrimSpace(string(text))
	mayBeYAML := ext != "" || strings.HasPrefix(begin, "---") || strings.HasPrefix(begin, "{")
	bad := v.ini(at, text)
	if mayBeYAML {
		bad = cmp.Or(bad, v.badOf(at))
	}
	switch {
	case bad == nil || !mayBeYAML:
		return bad
	case err != nil:
		return err
	case top == nil:
		return at.bad("holds nothing")
	}
	at.line = top.Line
	return at.bad("not a mapping of groups")
}

// badOf returns why the first bad host of a source is that: where a text could be YAML that is
// broken, it is read as INI only if all lines can be.
func (v *Inventory) badOf(at origin) error {
	for _, h := range v.hostOrder {
		if bad := (*Error)(nil); errors.As(h.bad, &bad) && bad.File == at.file {
			return h.bad
		}
	}
	return nil
}

func (v *Inventory) mappingOfGroups(at origin, top *yaml.Node) error {
	r := &yamlReader{v: v, at: at}
	pairs, err := r.mapping(top, 0)
	if err != nil {
		return err
	}
	for _, p := range pairs {
		if p.key != "plugin" {
			continue
		}
		if none, err := r.falsy(p.value); err != nil || !none {
			return &needsAnsible{File: at.file, Line: p.at.Line, Text: "is for a plugin of Ansible"}
		}
	}
	for _, p := range pairs {
		if err := r.group(p, 0); err != nil {
			return err
		}
	}
	return nil
}
