package inventory

import (
	"strings"
	"testing"
)

// Operators bind and compare as in Jinja, and make an error of what isn't known here. "!" is before
// a part of the error. TestTemplatesAgainstAnsible has more, beside Ansible itself.
func TestOperators(t *testing.T) {
	v := New()
	for _, name := range []string{"w1", "w2"} {
		v.add(v.group("web"), name, 0, origin{})
	}
	v.add(v.group("one"), "w1", 0, origin{})
	h := v.hosts["w1"]
	h.own["dct"] = Var{Value: map[string]any{"k": "v", "t": "{{ inventory_hostname }}"}}
	h.own["lst"] = Var{Value: []any{"x", "{{ inventory_hostname }}", "{{ big }}"}}
	h.own["big"] = Var{Value: "V"}
	h.own["deep"] = Var{Value: []any{[]any{"a"}, "{{ inventory_hostname }}"}}
	h.own["same"] = Var{Value: map[string]any{"k": "v", "t": "w1"}}
	if err := v.finish(); err != nil {
		t.Fatal(err)
	}
	v.asked = true // so that the order of groups isn't known
	for text, want := range map[string]string{
		"{{ dct == same }}":                            "True",
		"{{ [dct] != [same] }}":                        "False",
		"{{ dct == [same] }}":                          "False",
		"{{ 9007199254740993 == 9007199254740992.0 }}": "False",
		"{{ true == 1.0 }}":                            "True",
		"{{ groups['one'] == ['w1'] }}":                "True",
		"{{ ['w2'] == groups['one'] }}":                "False",
		"{{ groups['web'] == ['w1'] }}":                "False",
		"{{ groups['web'] == ['w2', 'w1'] }}":          "!order",
		"{{ groups['web'] == groups['web'] }}":         "!order",
		"{{ groups == 'x' }}":                          "!Ansible only",
		"{{ 'x' == hostvars['w1'] }}":                  "!Ansible only",
		"{{ omit == 'x' }}":                            "!Ansible only",
		"{{ 1 ~ 2 + '3' }}":                            "123",
		"{{ 'x' ~ nonesuch is defined }}":              "xFalse",
		"{{ 1 == 1 is number }}":                       "True", // 1 == True
		"{{ true is number }}":                         "True",
		"{{ 'a' is defined is defined }}":              "!only Ansible",
		"{{ 5 in same }}":                              "False",
		"{{ '/a/../b/c' | dirname }}":                  "/a/../b",
		"{{ '//a' | dirname }}":                        "//",
		"{{ 'a'.split('') }}":                          "!empty",
		"{{ 5 | basename }}":                           "!text",
		"{{ lst | sort | join('-') }}":                 "V-w1-x",
		"{{ (lst | sort)[1] }}":                        "w1",
		"{{ (lst + ['u']) | sort | first }}":           "u",
		"{{ ['b', dct.t, 'A'] | sort | last }}":        "w1",
		"{{ deep | sort | first }}":                    "!sort",
		"{{ [5] | sort | first }}":                     "5",
		"{{ ([] | sort) | length }}":                   "0",
		"{{ 'ba' | sort | first }}":                    "!sort",
		"{{ [].get('a', 'x') }}":                       "!mapping",
	} {
		r := &reader{inventory: v, host: h, vars: v.Vars(h)}
		value := r.resolve("x", Var{Value: text}, 0)
		part, fails := strings.CutPrefix(want, "!")
		switch {
		case fails && (r.err == nil || !strings.Contains(r.err.Error(), part)):
			t.Errorf("%s: got %v, %v, want an error with %q", text, value, r.err, part)
		case !fails && (r.err != nil || r.asText("x", value) != want):
			t.Errorf("%s: got %v, %v, want %s", text, value, r.err, want)
		}
	}
}
