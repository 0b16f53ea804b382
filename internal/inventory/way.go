package inventory

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/secret"
)

// A Way describes the hops from one host to the next.
type Way struct {
	Name    string          // of the host
	Target  string          // hops, joined by +
	Options connect.Options // what the inventory says; zero where it says nothing

	proxy string // see Proxy
}

// Proxy returns the variable, with its place, that has ssh reach the host through another one; ""
// for none. Where a hop before makes ssh's connection, that proxy can't be used.
func (w Way) Proxy() string { return w.proxy }

// BecomesLater reports whether a way behind the one at i of a chain enters another account, so that
// a password for that is not for a hop before.
func BecomesLater(chain []Way, i int) bool {
	return slices.ContainsFunc(chain[i+1:], func(w Way) bool { return methods.Becomes(w.Target) })
}

// CheckProxies returns an error if a hop would make the connection to a host of the chain for which
// ssh's own arguments name another host to pass.
func CheckProxies(chain []Way) error {
	for i, w := range chain {
		if i > 0 && w.Proxy() != "" {
			return fmt.Errorf("%s: names a proxy, and the host is reached through %s: "+
				"one of both can be used", w.Proxy(), chain[i-1].Name)
		}
	}
	return nil
}

// Chain returns the ways to h: those that lead to it, as its variable mitogen_via says, then its
// own. The variables are Ansible's, with Ansible's meaning, and a few of Mitogen's: see the
// vocabulary. A variable that would change the way, and isn't used, is an error that names the
// variable and where it was given.
func (v *Inventory) Chain(h *Host) ([]Way, error) {
	return v.chain(h, nil)
}

func (v *Inventory) chain(h *Host, below []string) ([]Way, error) {
	if slices.Contains(below, h.Name) {
		return nil, fmt.Errorf("leads in a circle: %s", strings.Join(append(below, h.Name), ", "))
	}
	if err := v.unread(h); err != nil {
		return nil, err
	}
	r := &reader{inventory: v, host: h, vars: v.Vars(h)}
	ways, via := r.ways(), r.text("mitogen", "via")
	if r.err != nil {
		return nil, r.err
	}
	if via == "" {
		return ways, nil
	}
	chain, err := v.via(via, append(below, h.Name))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.place("mitogen_via"), err)
	}
	return append(chain, ways...), nil
}

// via reads "[[become_method:]become_user@]inventory_host". What names no host of the inventory is
// read as the line of a plain list is.
func (v *Inventory) via(text string, below []string) ([]Way, error) {
	if h := v.hosts[text]; h != nil {
		return v.chain(h, below)
	}
	if i := strings.LastIndexByte(text, '@'); i >= 0 {
		if h := v.hosts[text[i+1:]]; h != nil {
			return v.account(text, text[:i], h, below)
		}
	}
	hops, err := listed(text)
	if err == nil && hops == nil {
		hops, err = loginAddress(text)
	}
	if err != nil {
		return nil, fmt.Errorf("%q is no host of the inventory, and no target: %w", text, err)
	}
	target, err := methods.FormatTarget(hops)
	return []Way{{Name: text, Target: target}}, err
}

// account returns the ways to another account of h.
func (v *Inventory) account(text, account string, h *Host, below []string) ([]Way, error) {
	chain, err := v.chain(h, below)
	if err != nil {
		return nil, err
	}
	method, user, ok := strings.Cut(account, ":")
	if !ok {
		method, user = "sudo", account
	}
	if !slices.Contains([]string{"sudo", "su", "doas"}, method) {
		return nil, fmt.Errorf("%q: become method %q is none of sudo, su, doas", text, method)
	}
	hop, err := methods.FormatTarget([]methods.Hop{{Method: method, User: user}})
	if err != nil {
		return nil, fmt.Errorf("%q: %w", text, err)
	}
	last := &chain[len(chain)-1]
	last.Name = text
	last.Target += "+" + hop
	r := &reader{inventory: v, host: h, vars: v.Vars(h)}
	if password := r.secret(method); password != "" {
		own, err := secret.NewTable(map[string]secret.Secret{hop: password})
		if err != nil {
			r.fail(r.given(method, "become_pass").name, "has a NUL")
		}
		last.Options.Passwords = last.Options.Passwords.With(own)
	}
	return chain, r.err
}

// ways returns the host's own: one, or two where a target leads over other hosts, which the options
// are not for.
func (r *reader) ways() []Way {
	var o connect.Options
	kind := r.kind()
	hops := kind.place(r, &o)
	plugins := append([]string{"any", "mitogen", "sh"}, kind.plugin)
	prefixes := append([]string{"mitogen_ssh_"}, kind.prefixes...)
	if become, _ := r.flag("any", "become"); become && len(hops) > 0 {
		m := r.become()
		if twice := hops[len(hops)-1].Method == m.plugin; twice {
			r.fail(r.given("any", "become").name, "can't be used here: the connection is by %s already",
				m.plugin)
		}
		hops = append(hops, m.hop(r, &o))
		plugins, prefixes = append(plugins, m.plugin), append(prefixes, "ansible_become_",
			"ansible_"+m.plugin+"_")
	}
	r.interpreter(&o, hops)
	r.check(prefixes, plugins...)
	if r.err != nil {
		return nil
	}
	ways, err := split(r.host.Name, hops, o)
	if err != nil {
		r.err = fmt.Errorf("host %s: %w", r.host.Name, err)
	}
	ways[len(ways)-1].proxy = r.proxy
	return ways
}

// split makes ways of hops. Passwords, keys and programs are the host's, so hosts on the way get
// none of them.
func split(name string, hops []methods.Hop, o connect.Options) ([]Way, error) {
	own := len(hops) - 1
	for own > 0 && hops[own].Method != "ssh" {
		own--
	}
	if own > 0 && reflect.ValueOf(o).IsZero() {
		own = 0
	}
	target, err := methods.FormatTarget(hops[own:])
	if err != nil || own == 0 {
		return []Way{{Name: name, Target: target, Options: o}}, err
	}
	before, err := methods.FormatTarget(hops[:own])
	return []Way{{Name: before, Target: before}, {Name: name, Target: target, Options: o}}, err
}

// interpreter reads what Python is to be started.
func (r *reader) interpreter(o *connect.Options, hops []methods.Hop) {
	s := r.given("any", "python")
	if _, own := s.value.(ansiblePython); own {
		if len(hops) == 0 || hops[0].Method != "local" {
			r.fail(s.name, "is the interpreter that Ansible runs in, which isn't known here")
		}
		return
	}
	python := strings.TrimSpace(r.asText(s.name, s.value))
	if python != "" && !slices.Contains([]string{"auto", "auto_silent", "auto_legacy",
		"auto_legacy_silent"}, python) {
		o.Python = []string{python}
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
