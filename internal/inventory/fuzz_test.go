package inventory

import (
	"errors"
	"strings"
	"testing"
)

// FuzzList checks that whatever an inventory program answers to --list and --host is an inventory,
// or an error.
func FuzzList(f *testing.F) {
	f.Add(`{"g": {"hosts": ["h"], "vars": {"a": 1}, "children": ["k"]}, "k": ["x"], "_meta": `+
		`{"hostvars": {"h": {"ansible_host": "1.2.3.4"}}}}`, `{}`)
	f.Add(`{"g": ["h"]}`, `{"ansible_user": "{{ x }}", "x": [1, {"a": null}]}`)
	f.Add(`{"a": {"children": ["b"]}, "b": {"children": ["a"]}}`, `[]`)
	f.Add(`{"g": {"hosts": {"h": 1}}, "_meta": 5}`, `{`)
	f.Fuzz(func(t *testing.T, all, one string) {
		v := New()
		ask := func(string) ([]byte, error) { return []byte(one), nil }
		if strings.Contains(one, "fail") {
			ask = func(string) ([]byte, error) { return nil, errors.New("no answer") }
		}
		if v.list(origin{file: "f"}, []byte(strings.ReplaceAll(all, "plugin", "x")), ask) == nil &&
			v.finish() == nil {
			for _, h := range v.Hosts()[:min(len(v.Hosts()), 10)] {
				v.Chain(h)
			}
		}
	})
}
