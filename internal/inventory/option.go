package inventory

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/mitogen-go/mitogen/internal/lazyregexp"
)

// A reader reads a host's variables as options of Ansible's plugins. err is the first problem.
type reader struct {
	inventory *Inventory // for variables of other hosts
	host      *Host
	vars      map[string]Var
	err       error

	filled *int // how many templates were filled in, those of other hosts too; nil: none yet

	proxy string          // see Way.Proxy
	asked map[string]bool // "plugin option", for the test of the vocabulary
}

// fail notes a problem with a variable.
func (r *reader) fail(name, format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%s: %s", r.place(name), fmt.Sprintf(format, args...))
	}
}

// place names a variable and where it was given.
func (r *reader) place(name string) string {
	text := fmt.Sprintf("host %s: %s", r.host.Name, name)
	where := r.vars[name].Where
	if name == "inventory_hostname" {
		where = r.host.where
	}
	if where != "" {
		text = where + ": " + text
	}
	return text
}

// A setting is an option's value and the variable that it comes from; the zero setting is of an
// option that isn't set.
type setting struct {
	name  string
	value any
}

// given returns an option that the vocabulary has.
func (r *reader) given(plugin, option string) setting {
	about, ok := rows()[plugin][option]
	if !ok {
		panic("inventory: no option " + option + " of " + plugin)
	}
	if r.asked != nil {
		r.asked[plugin+" "+option] = true
	}
	s := r.last(about.vars)
	if s.value != nil && isFalse(s.value) && (plugin == "sudo" || plugin == "su") {
		s.value = "" // 0 and False are nothing to these plugins
	}
	return s
}

// last returns the last of the variables that has a value, as Ansible does. An empty text is a
// value.
func (r *reader) last(names []string) setting {
	for _, name := range slices.Backward(names) {
		if name == "inventory_hostname" {
			return setting{name, r.host.Name}
		}
		v, ok := r.vars[name]
		if !ok || v.Value == nil && !v.Vault {
			continue
		}
		if v.Vault {
			r.fail(name, "is encrypted, and Ansible alone has the password: %s", fromEnvironment)
			return setting{}
		}
		if value := r.resolve(name, v, 0); value != nil {
			return setting{name, value}
		}
	}
	return setting{}
}

// text returns an option that is text; "" if it isn't set.
func (r *reader) text(plugin, option string) string {
	s := r.given(plugin, option)
	return r.asText(s.name, s.value)
}

// asText writes a value as Python does.
func (r *reader) asText(name string, value any) string {
	switch x := value.(type) {
	case nil:
		return ""
	case string:
		return x
	case bool:
		return map[bool]string{true: "True", false: "False"}[x]
	case fmt.Stringer: // a number of any size
		return x.String()
	case int64:
		return strconv.FormatInt(x, 10)
	case float64:
		if a := math.Abs(x); a < 1e16 && a >= 1e-4 || a == 0 {
			text := strconv.FormatFloat(x, 'f', -1, 64)
			if !strings.Contains(text, ".") {
				text += ".0"
			}
			return text
		}
	}
	r.fail(name, "is not text")
	return ""
}

// flag returns an option that is a boolean, and whether it is set.
func (r *reader) flag(plugin, option string) (value, set bool) {
	s := r.given(plugin, option)
	if s.value == nil {
		return false, false
	}
	switch strings.ToLower(strings.TrimSpace(r.asText(s.name, s.value))) {
	case "y", "yes", "on", "1", "true", "t", "1.0":
		return true, true
	case "n", "no", "off", "0", "false", "f", "0.0":
		return false, true
	}
	r.fail(s.name, "is neither yes nor no")
	return false, true
}

// number returns an option that is a whole number between low and high; 0 if it isn't set.
func (r *reader) number(plugin, option, what string, low, high int) int {
	s := r.given(plugin, option)
	if s.value == nil {
		return 0
	}
	text := r.asText(s.name, s.value)
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || n < low || n > high {
		r.fail(s.name, "bad %s %q", what, text)
	}
	return n
}

// words returns an option that is a command line, cut as Python's shlex does.
func (r *reader) words(plugin, option string) []string {
	s := r.given(plugin, option)
	all, err := splitArgs(r.asText(s.name, s.value))
	if err != nil {
		r.fail(s.name, "%v", err)
	}
	return all
}

// program returns an option that is the path of a program.
func (r *reader) program(plugin, option string) string {
	s := r.given(plugin, option)
	text := r.asText(s.name, s.value)
	if strings.ContainsAny(text, " \t\n'\"`$;&|<>*?(){}[]\\#") || strings.HasPrefix(text, "~") ||
		strings.HasPrefix(text, "-") {
		r.fail(s.name, "%q is more than the path of a program", text)
	}
	return text
}

// splitArgs cuts a command line as Python's shlex does, and leaves out empty words.
func splitArgs(line string) ([]string, error) {
	words, err := shellWords(line)
	var all []string
	for _, w := range words {
		if w = strings.TrimSpace(w); w != "" {
			all = append(all, w)
		}
	}
	return all, err
}

// facts are variables of Ansible's own about a host, which set nothing.
var facts = lazyregexp.New(`^ansible_ssh_host_key_\w+_public(_keytype)?$`)

// check fails for each variable that would change the way and isn't used: options of the plugins
// that are refused, and names with one of the prefixes that no plugin has.
func (r *reader) check(prefixes []string, plugins ...string) {
	for _, p := range plugins {
		for _, option := range sortedKeys(rows()[p]) {
			if about := rows()[p][option]; about.use == refused {
				r.refuse(about)
			}
		}
	}
	for _, name := range sortedKeys(r.vars) {
		begins := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
		if slices.ContainsFunc(prefixes, begins) && !knows(name, plugins...) && !facts.MatchString(name) {
			r.fail(name, "is no variable that is known here for this connection, and may change the way to "+
				"the host%s", r.near(name, plugins))
		}
	}
}

// near suggests a variable of the plugins whose name differs by a letter or two next to each other.
func (r *reader) near(name string, plugins []string) string {
	for _, p := range plugins {
		for _, option := range sortedKeys(rows()[p]) {
			for _, other := range rows()[p][option].vars {
				if similar(name, other) {
					return fmt.Sprintf(" (%s?)", other)
				}
			}
		}
	}
	return ": give it another name if it isn't meant to"
}

// similar says whether what is left of two names without their common begin and end is short.
func similar(a, b string) bool {
	for a != "" && b != "" && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for a != "" && b != "" && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	return max(len(a), len(b)) <= 2
}

// refuse fails if the option has a value that matters.
func (r *reader) refuse(about row) {
	for _, name := range about.vars {
		v, ok := r.vars[name]
		if !ok {
			continue
		}
		quiet := &reader{inventory: r.inventory, host: r.host, vars: r.vars}
		value := quiet.resolve(name, v, 0)
		plain := !v.Vault && quiet.err == nil
		if plain && (isEmpty(value) ||
			slices.Contains(about.allowed, strings.ToLower(quiet.asText(name, value)))) {
			continue
		}
		r.fail(name, "can't be used here: %s", about.why)
	}
}

func isEmpty(value any) bool {
	switch x := value.(type) {
	case nil:
		return true
	case string:
		return x == ""
	case []any:
		return len(x) == 0
	case unordered:
		return len(x) == 0
	case map[string]any:
		return len(x) == 0
	}
	return false
}
