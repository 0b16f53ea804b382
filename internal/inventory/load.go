package inventory

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Bounds of what is read.
const (
	maxFile       = 64 << 20
	pluginTimeout = 2 * time.Minute
)

// Load reads inventories into one; what is said later wins. A source is a file, a directory of such, "-" for stdin, or a list of
// hosts with a comma in it. What is neither INI nor YAML is given to ansible-inventory, which has to be installed then.
// The error names file and line where it can.
func Load(ctx context.Context, sources []string, stdin io.Reader) (*Inventory, error) {
	v := New()
	for _, s := range sources {
		if err := v.load(ctx, s, stdin); err != nil {
			return nil, fmt.Errorf("inventory %w", err)
		}
	}
	if err := v.finish(); err != nil {
		return nil, fmt.Errorf("inventory %s: %w", strings.Join(sources, ", "), err)
	}
	return v, nil
}

func (v *Inventory) load(ctx context.Context, source string, stdin io.Reader) error {
	switch {
	case source == "-":
		text, err := io.ReadAll(io.LimitReader(stdin, maxFile))
		if err != nil {
			return err
		}
		return v.text(ctx, "(standard input)", text)
	case strings.Contains(source, ","):
		return v.ini("(list)", []byte(strings.ReplaceAll(source, ",", "\n")))
	}
	st, err := os.Stat(source)
	if err != nil {
		return fmt.Errorf("%s: %w", source, plain(err))
	}
	dir := source
	if st.IsDir() {
		err = v.directory(ctx, source)
	} else {
		dir = filepath.Dir(source)
		err = v.file(ctx, source, st)
	}
	if err != nil {
		return err
	}
	return v.besides(dir)
}

// plain is the error without what os adds.
func plain(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}

// directory reads all files of a directory, in the order of their names, but for those that Ansible passes over.
func (v *Inventory) directory(ctx context.Context, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		st, err := os.Stat(name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, plain(err))
		}
		switch {
		case e.Name() == "group_vars" || e.Name() == "host_vars" || ignored(e.Name()):
		case st.IsDir():
			if err := v.directory(ctx, name); err != nil {
				return err
			}
		default:
			if err := v.file(ctx, name, st); err != nil {
				return err
			}
		}
	}
	return nil
}

func ignored(name string) bool {
	if name[0] == '.' {
		return true
	}
	for _, end := range []string{"~", ".pyc", ".pyo", ".swp", ".bak", ".rpm", ".md", ".txt", ".rst", ".orig", ".ini", ".cfg", ".retry"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}

func (v *Inventory) file(ctx context.Context, name string, st os.FileInfo) error {
	if st.Mode()&0o111 != 0 && st.Mode().IsRegular() && isProgram(name) {
		return v.program(ctx, name)
	}
	text, err := readFile(name)
	if err != nil {
		return err
	}
	return v.text(ctx, name, text)
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

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, plain(err))
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("larger than %d MiB", maxFile>>20)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, plain(err))
	}
	if bytes.HasPrefix(text, []byte("$ANSIBLE_VAULT")) {
		return nil, &Error{File: name, Text: "is encrypted; put what it says about connections elsewhere, or decrypt it with ansible-vault"}
	}
	return text, nil
}

// text reads YAML where the name or the first line says so, else INI.
func (v *Inventory) text(ctx context.Context, name string, text []byte) error {
	ext := filepath.Ext(name)
	isYAML := slices.Contains([]string{".yml", ".yaml", ".json"}, ext) || bytes.HasPrefix(bytes.TrimSpace(text), []byte("---")) ||
		bytes.HasPrefix(bytes.TrimSpace(text), []byte("{"))
	if !isYAML {
		return v.ini(name, text)
	}
	err := v.yaml(name, text)
	if errors.Is(err, errPlugin) {
		return v.program(ctx, name)
	}
	return err
}

// besides reads group_vars and host_vars.
func (v *Inventory) besides(dir string) error {
	for _, g := range v.groups {
		if err := v.varsOf(filepath.Join(dir, "group_vars", g.name), g.vars); err != nil {
			return err
		}
	}
	for _, h := range v.order {
		if strings.ContainsRune(h.Name, filepath.Separator) {
			continue
		}
		if err := v.varsOf(filepath.Join(dir, "host_vars", h.Name), h.own); err != nil {
			return err
		}
	}
	return nil
}

// varsOf reads the file of that name, with or without an ending, or all of a directory.
func (v *Inventory) varsOf(name string, vars map[string]Var) error {
	for _, ext := range []string{"", ".yml", ".yaml", ".json"} {
		st, err := os.Stat(name + ext)
		if err != nil {
			continue
		}
		if !st.IsDir() {
			if err := v.varsFile(name+ext, vars); err != nil {
				return err
			}
			continue
		}
		entries, err := os.ReadDir(name)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.IsDir() || ignored(e.Name()) {
				continue
			}
			if err := v.varsFile(filepath.Join(name, e.Name()), vars); err != nil {
				return err
			}
		}
	}
	return nil
}

func (v *Inventory) varsFile(name string, vars map[string]Var) error {
	text, err := readFile(name)
	if err != nil {
		return err
	}
	top, err := parseYAML(name, text)
	if err != nil || top == nil {
		return err
	}
	r := &yamlReader{v: v, file: name}
	return r.variables(top, vars, "file")
}

// program asks ansible-inventory, or else the script itself, for the list as JSON.
func (v *Inventory) program(ctx context.Context, name string) error {
	argv := []string{"ansible-inventory", "-i", name, "--list"}
	if _, err := exec.LookPath(argv[0]); err != nil {
		if !isProgram(name) {
			return &Error{File: name, Text: "is for a plugin of Ansible, and ansible-inventory isn't there: install ansible-core"}
		}
		full, err := filepath.Abs(name)
		if err != nil {
			return err
		}
		argv = []string{full, "--list"}
	}
	ctx, cancel := context.WithTimeout(ctx, pluginTimeout)
	defer cancel()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stderr, cmd.WaitDelay = &stderr, time.Second
	out, err := cmd.Output()
	if err != nil {
		return &Error{File: name, Text: fmt.Sprintf("%s: %v: %s", filepath.Base(argv[0]), err, strings.TrimSpace(stderr.String()))}
	}
	if err := v.list(name, out); err != nil {
		return &Error{File: name, Text: fmt.Sprintf("%s: %v", filepath.Base(argv[0]), err)}
	}
	return nil
}

// list takes what --list prints.
func (v *Inventory) list(name string, text []byte) error {
	var groups map[string]json.RawMessage
	if err := json.Unmarshal(text, &groups); err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	var meta struct {
		Hostvars map[string]map[string]any `json:"hostvars"`
	}
	if m := groups["_meta"]; m != nil {
		if err := json.Unmarshal(m, &meta); err != nil {
			return fmt.Errorf("_meta: %w", err)
		}
	}
	for key, raw := range groups {
		if key == "_meta" {
			continue
		}
		var g struct {
			Hosts    []string       `json:"hosts"`
			Children []string       `json:"children"`
			Vars     map[string]any `json:"vars"`
		}
		if err := json.Unmarshal(raw, &g); err != nil {
			if err := json.Unmarshal(raw, &g.Hosts); err != nil {
				return fmt.Errorf("group %q: neither a list of hosts nor an object", key)
			}
		}
		into := v.group(key)
		for _, h := range g.Hosts {
			v.add(into, h)
		}
		for _, c := range g.Children {
			into.adopt(v.group(c))
		}
		for k, x := range g.Vars {
			into.vars[k] = Var{Value: whole(x), Where: name}
		}
	}
	slices.SortFunc(v.order, func(a, b *Host) int { return strings.Compare(a.Name, b.Name) }) // maps have no order
	for h, vars := range meta.Hostvars {
		host := v.add(v.group("all"), h)
		for k, x := range vars {
			host.own[k] = Var{Value: whole(x), Where: name}
		}
	}
	return nil
}

// whole makes integers of JSON's numbers.
func whole(x any) any {
	if f, ok := x.(float64); ok && f == float64(int64(f)) {
		return int64(f)
	}
	return x
}
