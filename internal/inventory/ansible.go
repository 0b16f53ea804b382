package inventory

import (
	"cmp"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// fromAnsible gives all sources to ansible-inventory, because of why. Its answer has the variables
// of all places.
func fromAnsible(ctx context.Context, sources []string, why *needsAnsible) (*Inventory, error) {
	bad := Error(*why)
	if slices.Contains(sources, "-") {
		bad.Text += ": Ansible doesn't read standard input"
		return nil, &bad
	}
	program, err := exec.LookPath("ansible-inventory")
	if err != nil {
		bad.Text += ", and ansible-inventory isn't there: install ansible-core"
		return nil, &bad
	}
	argv := []string{program}
	for _, s := range sources {
		argv = append(argv, "-i", s)
	}
	ctx, cancel := context.WithTimeout(ctx, scriptTimeout)
	defer cancel()
	out, stderr, err := run(ctx, append(os.Environ(), plainAnswer...), append(argv, "--list")...)
	if err != nil {
		return nil, &Error{File: bad.File, Line: bad.Line, Text: err.Error()}
	}
	v := New()
	v.asked = true
	if stderr != "" {
		v.warn("%s", stderr)
	}
	at := origin{file: strings.Join(sources, ", ")}
	if err := v.list(at, out, func(string) ([]byte, error) { return nil, nil }); err != nil {
		return nil, err
	}
	return v, v.finish()
}

// plainAnswer makes ansible-inventory fail for each source that it can't read, and print nothing
// but hosts with all their variables.
var plainAnswer = []string{
	"ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED=1", "ANSIBLE_INVENTORY_EXPORT=0", "ANSIBLE_VERBOSITY=0",
	"ANSIBLE_DEPRECATION_WARNINGS=0", "ANSIBLE_FORCE_COLOR=0",
}

// A readingOption is an option of Ansible by which an inventory is read otherwise than here.
type readingOption struct {
	env, section, key string
	usual             string // the values, with "|" between, under which this package reads as Ansible
}

var readingOptions = []readingOption{
	{"ANSIBLE_INVENTORY_ENABLED", "inventory", "enable_plugins",
		"host_list,script,auto,yaml,ini,toml"},
	{"ANSIBLE_INVENTORY_IGNORE", "defaults", "inventory_ignore_extensions", ""},
	{"ANSIBLE_INVENTORY_IGNORE", "inventory", "ignore_extensions", ""},
	{"ANSIBLE_INVENTORY_IGNORE_REGEX", "defaults", "inventory_ignore_patterns", ""},
	{"ANSIBLE_INVENTORY_IGNORE_REGEX", "inventory", "ignore_patterns", ""},
	{"ANSIBLE_HASH_BEHAVIOUR", "defaults", "hash_behaviour", "replace"},
	{"ANSIBLE_PRECEDENCE", "defaults", "precedence",
		"all_inventory,groups_inventory,all_plugins_inventory,all_plugins_play," +
			"groups_plugins_inventory,groups_plugins_play"},
	{"ANSIBLE_YAML_FILENAME_EXT", "defaults", "yaml_valid_extensions", ".yml,.yaml,.json"},
	{"ANSIBLE_INVENTORY_PLUGIN_EXTS", "inventory_plugin_yaml", "yaml_valid_extensions",
		".yaml,.yml,.json"},
	{"ANSIBLE_VARS_ENABLED", "defaults", "vars_plugins_enabled", "host_group_vars"},
	{"ANSIBLE_VARS_PLUGINS", "defaults", "vars_plugins", ""},
	{"ANSIBLE_VARS_PLUGIN_STAGE", "vars_host_group_vars", "stage", ""},
	{"ANSIBLE_RUN_VARS_PLUGINS", "defaults", "run_vars_plugins", "demand"},
	{"ANSIBLE_TRANSFORM_INVALID_GROUP_CHARS", "defaults", "force_valid_group_names", "never|ignore"},
	{"ANSIBLE_DUPLICATE_YAML_DICT_KEY", "defaults", "duplicate_dict_key", "warn|ignore"},
}

// configured returns the first option that isn't usual, or the first vars plugin, which Ansible
// would run; nil if there is none.
func configured(dir string) *needsAnsible {
	config := findConfig(dir)
	for _, s := range readingOptions {
		value, at := config.get(s)
		usual := func(u string) bool { return slices.Equal(commaList(value), commaList(u)) }
		if at != nil && !slices.ContainsFunc(strings.Split(s.usual, "|"), usual) {
			return &needsAnsible{File: at.file, Line: at.line,
				Text: s.key + " decides how inventories are read"}
		}
	}
	home, _ := os.UserHomeDir()
	for _, dir := range []string{cmp.Or(os.Getenv("ANSIBLE_HOME"), filepath.Join(home, ".ansible")),
		"/usr/share/ansible"} {
		if plugins, _ := filepath.Glob(filepath.Join(dir, "plugins/vars/*.py")); len(plugins) > 0 {
			return &needsAnsible{File: plugins[0], Text: "decides on variables"}
		}
	}
	return nil
}

// commaList splits at commas.
func commaList(s string) []string {
	var all []string
	for word := range strings.SplitSeq(s, ",") {
		if word = strings.TrimSpace(word); word != "" {
			all = append(all, word)
		}
	}
	return all
}

// A config is Ansible's configuration file.
type config struct {
	file  string
	lines []string
}

// findConfig reads the one file that Ansible would: ANSIBLE_CONFIG's, the working directory's
// unless everyone may write there, the home directory's, the system's.
func findConfig(dir string) config {
	home, _ := os.UserHomeDir()
	names := []string{filepath.Join(dir, "ansible.cfg"), filepath.Join(home, ".ansible.cfg"),
		"/etc/ansible/ansible.cfg"}
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm()&0o002 != 0 {
		names = names[1:]
	}
	if named := os.Getenv("ANSIBLE_CONFIG"); named != "" {
		if st, err := os.Stat(named); err == nil && st.IsDir() {
			named = filepath.Join(named, "ansible.cfg")
		}
		names = append([]string{named}, names...)
	}
	for _, name := range names {
		if text, err := os.ReadFile(name); err == nil {
			return config{name, strings.Split(string(text), "\n")}
		}
	}
	return config{}
}

// get returns an option's value and where it was given; nil if it wasn't.
func (c config) get(s readingOption) (string, *origin) {
	if value := os.Getenv(s.env); value != "" {
		return value, &origin{file: "$" + s.env}
	}
	section := ""
	for i, line := range c.lines {
		line, _, _ = strings.Cut(strings.TrimSpace(line), ";")
		switch {
		case strings.HasPrefix(line, "#"):
			continue
		case strings.HasPrefix(line, "["):
			section, _, _ = strings.Cut(line[1:], "]")
			continue
		}
		at := strings.IndexAny(line, "=:")
		if at >= 0 && section == s.section && strings.EqualFold(strings.TrimSpace(line[:at]), s.key) {
			return strings.TrimSpace(line[at+1:]), &origin{file: c.file, line: i + 1}
		}
	}
	return "", nil
}
