package inventory

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// expressions are parts of names. Those behind "!" are refused, though Ansible may take them.
var expressions = []string{
	"{{ groups['web'] | first }}", "{{ groups['web'] | last }}", "{{ groups.web[1] }}",
	"{{ groups['web'] | length }}", "{{ groups['web'] | join('.') }}",
	"{{ groups['web'][0:2] | join('-') }}", "{{ groups[of][1] }}",
	"{{ groups['nonesuch'] | default(['x']) | first }}", "{{ groups['web'] | sort | last }}",
	"{{ inlst | sort | join('-') }}",
	"{{ (inlst + ['B', 'a']) | sort | join('-') }}", "{{ inlst | sort | first }}",
	"{{ hostvars[inventory_hostname].num }}", "{{ hostvars[groups['web'][0]]['own'] }}",
	"{{ hostvars.w1.own }}", "{{ hostvars['w1'].get('own', 'x') }}",
	"{{ hostvars['w1'].get('none', 'x') }}", "{{ hostvars['nonesuch'].own | default('x') }}",
	"{{ hostvars['w2'].own | default(hostvars['w1'].own) }}",
	"{{ hostvars['w1'].refers }}", "{{ 'w1' in hostvars }}", "{{ 'own' in hostvars['w1'] }}",
	"{{ vars['num'] }}", "{{ lookup('vars', 'num') }}",
	"{{ lookup('vars', 'nonesuch', default='x') }}",
	"{{ 'in' if 'web' in group_names else 'out' }}",
	"{{ 'in' if inventory_hostname in groups['web'] else 'out' }}", "{{ group_names | first }}",
	"{{ group_names | join('+') | replace('+', 'x') }}",
	"{{ inventory_hostname.split('.')[0] }}", "{{ inventory_hostname | upper }}",
	"{{ inventory_hostname_short }}-{{ num }}", "{{ inventory_hostname ~ '.' ~ txt | lower }}",
	"{{ (inventory_hostname ~ txt) | lower }}", "{{ inventory_hostname[0] }}",
	"{{ inventory_hostname[1:] }}", "{{ txt[-7:] }}", "{{ txt.lower() }}",
	"{{ txt.replace('-', '_').upper() }}",
	"{{ txt.startswith('Some') }}", "{{ txt.split('-') | last }}", "{{ txt | replace('e', 'o') }}",
	"{{ 'x' + txt }}", "{{ num + 1 }}", "x{{ -5 }}", "{{ 1.5 }}",
	"{{ dct.k }}", "{{ dct['k'] }}", "{{ dct.t }}", "{{ dct['nonesuch'] | default('x') }}",
	"{{ dct.nonesuch.more | default('x') }}", "{{ dct[txt] | default(num) }}", "{{ lst[0] }}",
	"{{ lst[-1] }}",
	"{{ lst | first }}{{ lst[1] }}", "{{ lst[7] | default('x') }}", "{{ lst | length }}",
	"{{ lst | join }}", "{{ [num, 'a'] | join('-') }}", "{{ (lst + ['z']) | last }}",
	"{{ empty | default('x') }}y", "{{ empty | default('x', true) }}",
	"{{ nul | default('x', boolean=True) }}", "{{ nonesuch | default(empty) | default('y', true) }}",
	"{{ nonesuch | default(lookup('env', 'MITOGEN_WAY')) }}",
	"{{ lookup('env', 'MITOGEN_NO_WAY') | default('y', true) }}",
	"{{ lookup('ansible.builtin.env', 'MITOGEN_WAY') }}",
	"{{ 'a' if truth else 'b' }}", "{{ 'a' if not truth else 'b' }}", "{{ 'a' if empty else 'b' }}",
	"{{ 'a' if nonesuch is defined else 'b' }}", "{{ 'a' if num is defined and num == 5 else 'b' }}",
	"{{ 'a' if num != 5 or empty else 'b' }}", "{{ 'a' if 'x' not in lst else 'b' }}",
	"{{ 'a' if nul is none else 'b' }}", "{{ 'a' if txt is string else 'b' }}",
	"{{ num if num == '5' else 'c' }}",
	"{{ truth | ternary('yes', 'no') }}", "{{ empty or 'x' }}", "{{ truth and 'x' }}",
	"{{ not truth }}", "{{ num | string }}", "{{ '7' | int }}", "{{ txt | trim | lower }}",
	"{{ '/a/b.c' | basename }}", "x{{ '/a/b/c' | dirname | replace('/', '.') }}", "x{{- num -}} y",
	"{{num}}{{ txt}}", "a{{ 'b}}c' | replace('}}', '.') }}d", "{{ indirect }}",
	"{{ indirect | default('x') }}", "{{ gone | default('x') }}",
	"{{ (lst | length) + num }}", "{{ ansible_port | default(22) }}", "{{ ansible_user_of_all }}",
	"{{ inventory_file | basename }}",
	"{{ 'a' if dct == same else 'b' }}", "{{ 'a' if dct != more else 'b' }}",
	"{{ 'a' if [dct] == [same] else 'b' }}", "{{ 'a' if dct in [same] else 'b' }}",
	"{{ 'a' if inlst == [inventory_hostname, 'x'] else 'b' }}",
	"{{ 'a' if lst == ['a', 'b', 'c'] else 'b' }}", "{{ 'a' if lst == ['a', 'c', 'b'] else 'b' }}",
	"{{ 'a' if groups['web'] == ['w1', 'w2'] else 'b' }}", "{{ 'a' if dct == lst else 'b' }}",
	"{{ 'a' if 9007199254740993 == 9007199254740992.0 else 'b' }}", "{{ 'a' if 5 == 5.0 else 'b' }}",
	"{{ 'a' if truth == 1 else 'b' }}", "{{ 'a' if txt == num else 'b' }}",
	"{{ 'a' if nul == empty else 'b' }}",
	"{{ 'x' ~ num is defined }}", "{{ num ~ nonesuch is defined }}",
	"{{ 'a' if not nonesuch is defined else 'b' }}", "{{ 'a' if num == num is defined else 'b' }}",
	"{{ (1 + 2) ~ 3 }}", "{{ 1 ~ 2 + '3' }}",
	"{{ '1' + 2 ~ 3 }}", "{{ 'a' if truth is number else 'b' }}",
	"{{ 'a' if num is number else 'b' }}", "{{ 'a' if txt is number else 'b' }}",
	"{{ 'a' if txt | length is number else 'b' }}",
	"{{ 'a' if empty is string and nul is not string else 'b' }}",
	"x{{ '/a/../b/c' | dirname }}", "x{{ '//a//b' | dirname }}", "x{{ '//a' | dirname }}",
	"x{{ 'a' | dirname }}", "x{{ '/a/b/' | dirname }}", "{{ 'a  b'.split() | join('-') }}",
	"{{ 'a,,b'.split(',') | join('-') }}",
	"{{ 'a' if '5' in dct else 'b' }}", "{{ 'a' if 5 in lst else 'b' }}",
	"{{ 'a' if num in [5.0] else 'b' }}", "{{ 'a' if same == dct and not (same != dct) else 'b' }}",
	"{{ 'a b' | split | last }}",
	"{{ txt.split('') | first }}", "{{ num.lower() }}", "{{ lst.get('a', 'x') }}",
	"{{ num | split('.') | first }}", "{{ txt is defined is defined }}", "{{ lst | first[0] }}",
	"{{ num | basename }}",
	"{{ nonesuch }}", "{{ gone }}", "{{ dct.nonesuch }}", "{{ lst[9] }}",
	"{{ groups['nonesuch'][0] }}", "{{ 'a' if nonesuch else 'b' }}", "{{ nonesuch.x }}",
	"{{ hostvars['nonesuch'].x }}", "{{ nonesuch ~ 'x' }}",
	"!{{ txt | regex_replace('e', 'x') }}", "!{{ num * 2 }}", "!{{ lst | map('upper') | first }}",
	"!{{ '%s' | format(num) }}", "!{{ txt[::-1] }}",
}

// unclear is the place of the first expression that isn't filled in.
var unclear = slices.Index(expressions, "{{ txt.split('') | first }}")

// Templates are filled in as by Ansible, or refused.
func TestTemplatesAgainstAnsible(t *testing.T) {
	t.Setenv("MITOGEN_WAY", "from-env")
	var b strings.Builder
	b.WriteString(`
all:
  vars: {lst: [a, b, c], dct: {k: v, n: 5, t: "{{ inventory_hostname }}"}, empty: '', nul: null,
    num: 5, truth: true, txt: Some-Text.Example, of: web,
    same: {t: "{{ inventory_hostname }}", k: v, n: 5.0}, more: {k: v, n: 5, t: x, u: y},
    inlst: ["{{ inventory_hostname }}", x], indirect: "{{ num }}", gone: "{{ nonesuch }}",
    ansible_user_of_all: "{{ 'all' if truth else 'none' }}"}
  children:
    web: {hosts: {w1: {own: of-w1, refers: "{{ inventory_hostname }}"}, w2: }}
    db: {hosts: {w1: }}
  hosts:
`)
	refusals, variables := 0, []string{"ansible_host", "ansible_user", "ansible_become_user"}
	for i, text := range expressions {
		text, refused := strings.CutPrefix(text, "!")
		if refused {
			refusals++
		}
		if i%len(variables) == 0 || i >= unclear {
			fmt.Fprintf(&b, "    e%d.example:\n      ansible_become: true\n", i)
		}
		fmt.Fprintf(&b, "      %s: %q\n", variables[i%len(variables)], text)
	}
	for _, playbook := range playbooks(t) {
		t.Run(playbook, func(t *testing.T) {
			file := filepath.Join(write(t, map[string]string{"hosts.yml": b.String()}), "hosts.yml")
			if refused := differ(t, playbook, file); refused > refusals {
				t.Errorf("%d templates are refused that Ansible takes, want %d at most", refused, refusals)
			}
		})
	}
}

// What a template refers to is asked of the host that has it, and a problem of that host is told.
func TestTemplatesOfOthers(t *testing.T) {
	v := list(t, `
a ansible_host="{{ hostvars['b'].ansible_host }}" x="{{ hostvars['a'].x }}"
b ansible_host=10.0.0.2
c ansible_host="{{ hostvars['d'].ansible_host }}"
d ansible_host=10.0.0.4 broken
e ansible_host="{{ x }}" x="{{ hostvars['e'].x }}"
`)
	for name, want := range map[string]string{"a": "10.0.0.2",
		"c": "!hostvars['d'].ansible_host: (standard input):5: behind host d", "e": "!circle"} {
		chain, err := v.Chain(v.Host(name))
		text, fails := strings.CutPrefix(want, "!")
		if fails && (err == nil || !strings.Contains(err.Error(), text)) ||
			!fails && (err != nil || chain[0].Target != text) {
			t.Errorf("host %s: %v, %v, want %q", name, chain, err, want)
		}
	}
}

// References that multiply end in an error.
// One goroutine computes: the race detector has nothing to see here.
func TestTemplatesMultiply(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a minute under the race detector")
	}
	for _, form := range []string{"{{ x%d }}", "{{ hostvars['h'].x%d }}",
		"{{ [x%d][0] | default('x') }}"} {
		line := "h ansible_host=\"{{ x0 }}\" x9=a"
		for i := range 9 {
			line += fmt.Sprintf(" x%d=\"%s\"", i, strings.Repeat(fmt.Sprintf(form, i+1), 10))
		}
		v := list(t, line)
		if _, err := v.Chain(v.Host("h")); err == nil || !strings.Contains(err.Error(), "to more than") {
			t.Errorf("%s: got %v, want an error that counts them", form, err)
		}
	}
}

// FuzzTemplate checks that no text makes the evaluation fail otherwise than by an error.
func FuzzTemplate(f *testing.F) {
	for _, text := range expressions {
		f.Add(strings.Trim(text, "!"))
	}
	f.Fuzz(func(t *testing.T, text string) {
		v := New()
		v.add(v.groups["all"], "h", 0, origin{})
		h := v.hosts["h"]
		h.own["x"], h.own["lst"], h.own["dct"] = Var{Value: text}, Var{Value: []any{"a",
			text}}, Var{Value: map[string]any{"k": text}}
		if err := v.finish(); err != nil {
			t.Fatal(err)
		}
		r := &reader{inventory: v, host: h, vars: v.Vars(h)}
		r.resolve("x", Var{Value: text}, 0)
	})
}
