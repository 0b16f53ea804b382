package inventory

import (
	"os"
	"strconv"
	"strings"

	"github.com/mitogen-go/mitogen/internal/lazyregexp"
)

// Templates are followed as far as inventories commonly go: variables, texts and numbers, with filters behind them.
const (
	word   = `(?:'[^'\\]*'|"[^"\\]*"|[A-Za-z_]\w*)`
	member = `groups\[\s*` + word + `\s*\]\[\s*-?\d+\s*\]`
	other  = `hostvars\[\s*(?:` + member + `|` + word + `)\s*\](?:\.[A-Za-z_]\w*|\[\s*` + word + `\s*\])`
	lookup = `lookup\(\s*['"](?:ansible\.builtin\.)?env['"]\s*,\s*['"]\w+['"]\s*\)`
	term   = `(?:` + lookup + `|` + other + `|` + member + `|` + word + `|` + whole + `)`
	whole  = `-?(?:0+|[1-9]\d*)`
	filter = `\s*\|\s*(?:(?:default|d)\(\s*(` + term + `)\s*(?:,\s*(?:boolean\s*=\s*)?(True|true|False|false)\s*)?\)|(int|bool|string|lower|upper|trim)\b)`
)

var (
	expression = lazyregexp.New(`\{\{\s*(` + term + `)((?:` + filter + `)*)\s*\}\}`)
	filters    = lazyregexp.New(filter)
	ordinal    = lazyregexp.New(`^` + whole + `$`)
	inGroup    = lazyregexp.New(`^groups\[\s*(` + word + `)\s*\]\[\s*(-?\d+)\s*\]$`)
	hostvar    = lazyregexp.New(`^hostvars\[\s*(` + member + `|` + word + `)\s*\](?:\.(\w+)|\[\s*(` + word + `)\s*\])$`)
	variable   = lazyregexp.New(`(\w+)['"]\s*\)$`)
)

// fromEnvironment is the remedy for a value that only Ansible knows.
const fromEnvironment = "{{ lookup('env', 'NAME') }} takes it from the environment"

// maxReferences bounds references of variables to variables.
const maxReferences = 20

// omitted stands for {{ omit }}, with which an option isn't set.
type omitted struct{}

// notTemplate matches what Jinja reads otherwise than the expressions here: a header, and braces in front of an expression.
var notTemplate = lazyregexp.New(`^#jinja2:|\{\{\{|\{[%#]`)

// ansiblePython stands for {{ ansible_playbook_python }}, which is no path that is known here.
type ansiblePython struct{}

// resolve fills in templates. It returns nil for what is left out, and after a problem.
func (r *reader) resolve(name string, v Var, depth int) any {
	text, ok := v.Value.(string)
	if !ok || v.Unsafe || !strings.Contains(text, "{{") && !strings.Contains(text, "{%") && !strings.Contains(text, "{#") {
		return v.Value
	}
	if notTemplate.MatchString(text) {
		return r.onlyAnsible(name)
	}
	if m := expression.FindStringSubmatch(text); m != nil && m[0] == text {
		return r.evaluate(name, m, depth)
	}
	filled := expression.ReplaceAllStringFunc(text, func(s string) string {
		return r.asText(name, r.evaluate(name, expression.FindStringSubmatch(s), depth))
	})
	// What values brought in isn't a template, so the text around them is looked at.
	rest := expression.ReplaceAllString(text, "")
	if strings.Contains(rest, "{{") {
		return r.onlyAnsible(name)
	}
	return filled
}

func (r *reader) onlyAnsible(name string) any {
	r.fail(name, "is a template that only Ansible can fill in: write the value, or %s", fromEnvironment)
	return nil
}

// evaluate returns the value of an expression's match.
func (r *reader) evaluate(name string, match []string, depth int) any {
	value, found := r.term(name, match[1], depth)
	for _, f := range filters.FindAllStringSubmatch(match[2], -1) {
		switch {
		case f[1] == "" && found:
			value = r.convert(name, f[3], value)
		case f[1] != "" && (!found || strings.EqualFold(f[2], "true") && isFalse(value)):
			value, found = r.term(name, f[1], depth)
		}
	}
	if !found {
		r.fail(name, "refers to %s, which isn't known here: write the value, or %s", match[1], fromEnvironment)
		return nil
	}
	if value == (omitted{}) {
		return nil
	}
	return value
}

// convert returns what a filter makes of a value.
func (r *reader) convert(name, filter string, value any) any {
	text := "None"
	switch {
	case value == (omitted{}):
		filter += " of omit"
	case value != nil:
		text = r.asText(name, value)
	}
	switch filter {
	case "string":
		return text
	case "lower":
		return strings.ToLower(text)
	case "upper":
		return strings.ToUpper(text)
	case "trim":
		return strings.TrimSpace(text)
	case "int":
		if n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64); err == nil {
			return n
		}
	case "bool":
		switch strings.ToLower(text) {
		case "yes", "on", "1", "true":
			return true
		case "no", "off", "0", "false":
			return false
		}
	}
	r.fail(name, "can't be used here: %s of %q", filter, text)
	return nil
}

func isFalse(value any) bool {
	return isEmpty(value) || value == false || value == int64(0) || value == 0.0
}

// term returns the value of a variable or literal, and whether there is one.
func (r *reader) term(name, text string, depth int) (value any, found bool) {
	if m := hostvar.FindStringSubmatch(text); m != nil {
		return r.hostvar(name, m, depth)
	}
	if m := inGroup.FindStringSubmatch(text); m != nil {
		return r.member(name, m, depth)
	}
	switch {
	case strings.HasPrefix(text, "lookup"): // of an environment variable; one that isn't set is empty
		return os.Getenv(variable.FindStringSubmatch(text)[1]), true
	case text[0] == '\'' || text[0] == '"':
		return text[1 : len(text)-1], true
	case ordinal.MatchString(text):
		n, err := strconv.ParseInt(text, 10, 64)
		return n, err == nil
	}
	switch text {
	case "true", "True":
		return true, true
	case "false", "False":
		return false, true
	case "none", "None":
		return nil, true
	case "omit":
		return omitted{}, true
	case "inventory_hostname":
		return r.host.Name, true
	}
	return r.variable(name, text, depth)
}

// hostvar returns a variable of another host.
func (r *reader) hostvar(name string, match []string, depth int) (value any, found bool) {
	host, _ := r.term(name, match[1], depth)
	about := match[2]
	if about == "" {
		x, _ := r.term(name, match[3], depth)
		about = r.asText(name, x)
	}
	if r.inventory == nil || r.err != nil {
		return nil, false
	}
	h := r.inventory.hosts[r.asText(name, host)]
	if h == nil {
		return nil, false
	}
	other := &reader{inventory: r.inventory, host: h, vars: r.inventory.Vars(h)}
	if value, found = other.variable(about, about, depth+1); other.err != nil {
		r.fail(name, "refers to %s: %v", match[0], other.err)
	}
	return value, found
}

// member returns the name of a host by its place in a group.
func (r *reader) member(name string, match []string, depth int) (value any, found bool) {
	group, _ := r.term(name, match[1], depth)
	n, err := strconv.Atoi(match[2])
	if r.inventory == nil || r.err != nil || err != nil {
		return nil, false
	}
	g := r.inventory.groups[r.asText(name, group)]
	if g == nil {
		return nil, false
	}
	if n < 0 {
		n += len(g.all)
	}
	if n < 0 || n >= len(g.all) {
		return nil, false
	}
	if r.inventory.asked && len(g.all) > 1 {
		r.fail(name, "refers to %s, and ansible-inventory doesn't tell the order", match[0])
	}
	return g.all[n].Name, true
}

// variable returns the value of a variable.
func (r *reader) variable(name, text string, depth int) (value any, found bool) {
	v, ok := r.vars[text]
	switch {
	case !ok && text == "ansible_playbook_python":
		return ansiblePython{}, true
	case !ok:
		return nil, false
	case v.Vault:
		r.fail(name, "refers to %s, which is encrypted, and Ansible alone has the password: %s", text, fromEnvironment)
		return nil, true
	case depth > maxReferences:
		r.fail(name, "refers to %s, which isn't known here: references go in a circle", text)
		return nil, true
	}
	return r.resolve(name, v, depth+1), true
}
