package inventory

import (
	"context"
	"strings"
	"testing"
)

// A template within a list or mapping is filled in with the variables of its host or group. No
// other text is taken for a template.
func TestTemplatesWithin(t *testing.T) {
	t.Setenv("TEMPLATES_SECRET", "hunter2")
	dir := write(t, map[string]string{"hosts.yml": `all:
  hosts:
    db: {private: db.example, net: {ip: "{{ private }}", all: ["{{ private }}"]}}
    own: {private: own.example, ansible_host: "{{ hostvars['db'].net.ip }}"}
    entry: {private: own.example, ansible_host: "{{ hostvars['db'].net.all[0] }}"}
    member:
      private: own.example
      ansible_host: "{{ 'yes' if 'db.example' in hostvars['db'].net.all else 'no' }}"
    cut:
      raw: !unsafe "{{ lookup('env', 'TEMPLATES_SECRET') }},x"
      ansible_host: "{{ raw.split(',')[0] }}"
    inside:
      raw: !unsafe {a: "{{ lookup('env', 'TEMPLATES_SECRET') }}"}
      ansible_host: "{{ raw.a }}"
`})
	v, err := Load(context.Background(), []string{dir + "/hosts.yml"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := reasons(v)
	for name, want := range map[string]string{"own": "db.example", "entry": "db.example",
		"member": "yes"} {
		if got[name] != want {
			t.Errorf("host %s: got %q, want %q", name, got[name], want)
		}
	}
	for _, name := range []string{"cut", "inside"} {
		if strings.Contains(got[name], "hunter2") {
			t.Errorf("host %s: got %q, which has a value of the environment", name, got[name])
		}
	}
}
