package inventory

import (
	"strconv"
	"strings"

	"github.com/mitogen-go/mitogen/internal/lazyregexp"
)

// fromEnvironment is the remedy for a value that only Ansible knows.
const fromEnvironment = "{{ lookup('env', 'NAME') }} takes it from the environment"

const (
	// maxReferences bounds references of variables to variables.
	maxReferences = 20
	// maxFilled bounds the templates that one host takes, which references multiply.
	maxFilled = 1 << 14
	// maxTemplate bounds a template, and maxFilledText what comes of one, in bytes.
	maxTemplate   = 1 << 16
	maxFilledText = 1 << 20
)

// omitted stands for {{ omit }}, with which an option isn't set.
type omitted struct{}

// notTemplate matches what Jinja reads otherwise than the expressions here: a header, and braces in
// front of an expression.
var notTemplate = lazyregexp.New(`^#jinja2:|\{\{\{|\{[%#]`)

// ansiblePython stands for {{ ansible_playbook_python }}, which is no path that is known here.
type ansiblePython struct{}

// isTemplate tells a text that Jinja would change.
func isTemplate(text string) bool {
	return strings.Contains(text, "{{") || strings.Contains(text, "{%") || strings.Contains(text, "{#")
}

// resolve fills in templates. It returns nil for what is left out, and after a problem.
func (r *reader) resolve(name string, v Var, depth int) any {
	value := r.fill(name, v, depth)
	if what, unknown := value.(undefined); unknown {
		r.fail(name, "refers to %s, which isn't known here: write the value, or %s",
			string(what), fromEnvironment)
		return nil
	}
	return value
}

// fill is resolve, but returns undefined where a template refers to what isn't known.
func (r *reader) fill(name string, v Var, depth int) any {
	if v.Unsafe {
		return v.Value
	}
	text, ok := v.Value.(string)
	if !ok {
		return r.parts(v.Value, depth)
	}
	if !isTemplate(text) {
		return v.Value
	}
	if r.err != nil { // nothing depends on it any more
		return nil
	}
	parts, ok := cutTemplate(text)
	if r.filled == nil {
		r.filled = new(int)
	}
	if *r.filled++; *r.filled > maxFilled {
		r.fail(name, "refers to variables that refer to more than %d others", maxFilled)
		return nil
	}
	if !ok {
		return r.onlyAnsible(name)
	}
	e := &evaluation{r, name, depth}
	if len(parts) == 1 {
		return e.evaluate(parts[0].node)
	}
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(p.text)
		if p.node == nil {
			continue
		}
		value := e.evaluate(p.node)
		if _, unknown := value.(undefined); unknown {
			return value
		}
		text := r.asText(name, value)
		if b.Len()+len(text) > maxFilledText {
			r.fail(name, "is filled in with more than %d bytes", maxFilledText)
			return nil
		}
		b.WriteString(text)
	}
	return b.String()
}

// An inner is a template within a list or mapping of a variable, which r's variables fill in.
type inner struct {
	r     *reader
	text  string
	depth int
}

// parts returns a variable's value with its templates as inners. Values are as deep as a file's
// parser lets them be.
func (r *reader) parts(value any, depth int) any {
	switch value := value.(type) {
	case string:
		if isTemplate(value) {
			return inner{r, value, depth}
		}
	case []any:
		all := make([]any, len(value))
		for i, x := range value {
			all[i] = r.parts(x, depth)
		}
		return all
	case map[string]any:
		all := make(map[string]any, len(value))
		for key, x := range value {
			all[key] = r.parts(x, depth)
		}
		return all
	}
	return value
}

// A templatePart is text, or an expression.
type templatePart struct {
	text string
	node node
}

// cutTemplate takes a template apart. ok is false for what Jinja alone knows.
func cutTemplate(text string) (parts []templatePart, ok bool) {
	if len(text) > maxTemplate || notTemplate.MatchString(text) {
		return nil, false
	}
	for text != "" {
		before, behind, more := strings.Cut(text, "{{")
		behind, strips := strings.CutPrefix(behind, "-")
		if strips { // the space before
			before = strings.TrimRight(before, " \t\r\n")
		}
		if before != "" {
			parts = append(parts, templatePart{text: before})
		}
		if !more {
			break
		}
		n, rest, ok := compile(behind)
		if !ok {
			return nil, false
		}
		parts = append(parts, templatePart{node: n})
		text = rest
	}
	return parts, true
}

func (r *reader) onlyAnsible(name string) any {
	r.fail(name, "is a template that only Ansible can fill in: write the value, or %s",
		fromEnvironment)
	return nil
}

// evaluate returns the value of an expression; nil for what is left out, and after a problem.
func (e *evaluation) evaluate(n node) any {
	switch x := n(e).(type) {
	case omitted:
		return nil
	case allGroups, allHosts, ownVars, *Host:
		return e.fail("more than one value")
	case unordered:
		return e.r.onlyAnsible(e.name)
	default:
		return x
	}
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

// hostvar returns a variable of another host.
func (r *reader) hostvar(name, what string, h *Host, about string, depth int) (
	value any, found bool) {
	if r.err != nil {
		return nil, false
	}
	if err := r.inventory.unread(h); err != nil {
		r.fail(name, "refers to %s: %v", what, err)
		return nil, false
	}
	other := &reader{inventory: r.inventory, host: h, vars: r.inventory.Vars(h), filled: r.filled}
	if value, found = other.variable(about, about, depth+1); other.err != nil {
		r.fail(name, "refers to %s: %v", what, other.err)
	}
	return value, found
}

// variable returns the value of a variable.
func (r *reader) variable(name, text string, depth int) (value any, found bool) {
	v, ok := r.vars[text]
	switch {
	case text == "inventory_hostname":
		return r.host.Name, true
	case !ok && text == "ansible_playbook_python":
		return ansiblePython{}, true
	case !ok:
		return nil, false
	case v.Vault:
		r.fail(name, "refers to %s, which is encrypted, and Ansible alone has the password: %s", text,
			fromEnvironment)
		return nil, true
	case depth > maxReferences:
		r.fail(name, "refers to %s, which isn't known here: references go in a circle", text)
		return nil, true
	}
	return r.fill(name, v, depth+1), true
}
