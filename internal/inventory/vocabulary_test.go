package inventory

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/methods"
)

// TestVocabulary compares the table with what Ansible documents, as scripts/ansible-vars.sh has
// found it.
func TestVocabulary(t *testing.T) {
	text, err := os.ReadFile("testdata/ansible-vars.txt")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for line := range strings.Lines(string(text)) {
		plugin, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		option, vars, _ := strings.Cut(rest, " ")
		documented[plugin+" "+option] = strings.ReplaceAll(vars, " ", ",")
	}
	for name, want := range documented {
		plugin, option, _ := strings.Cut(name, " ")
		row, ok := rows()[plugin][option]
		if got := strings.Join(row.vars, ","); !ok || got != want {
			t.Errorf("option %s: the vocabulary has %q, Ansible's documentation %q", name, got, want)
		}
	}
	for plugin, options := range rows() {
		for option := range options {
			if _, ok := documented[plugin+" "+option]; !ok && plugin != "any" && plugin != "mitogen" {
				t.Errorf("option %s %s is documented by no plugin", plugin, option)
			}
		}
	}
}

// TestVocabularyInstalled asks the releases of Ansible that are here, for the plugins that they
// bring and for the variables that they have for all connections.
func TestVocabularyInstalled(t *testing.T) {
	const code = `
import json
from ansible import constants as C
from ansible.plugins import loader
options = []
for kind, names in {'connection': ['ssh', 'local', 'paramiko_ssh'], 'become': ['sudo', 'su'],
                    'shell': ['sh']}.items():
    for name in names:
        try:
            getattr(loader, kind + '_loader').get(name, class_only=True)
        except ImportError:
            pass  # without the library it needs
        for option, about in C.config.get_configuration_definitions(kind, name).items():
            variables = [v['name'] for v in about.get('vars', [])]
            options.append([name, option] + [v for v in variables if '[' not in v])
magic = set(n for names in C.MAGIC_VARIABLE_MAPPING.values() for n in names)
magic |= set(C.COMMON_CONNECTION_VARS)
print(json.dumps({'options': options, 'magic': sorted(magic)}))
`
	for _, playbook := range playbooks(t) {
		t.Run(playbook, func(t *testing.T) {
			var about struct {
				Options [][]string
				Magic   []string
			}
			out, err := exec.Command(pythonOf(t, playbook), "-c", code).Output()
			if err == nil {
				err = json.Unmarshal(out, &about)
			}
			if err != nil || len(about.Options) < 40 || len(about.Magic) < 20 {
				t.Fatalf("Ansible's options: %s, %v", out, err)
			}
			for _, o := range about.Options {
				if row := rows()[o[0]][o[1]]; len(o) > 2 && !inOrder(o[2:], row.vars) {
					t.Errorf("option %s %s: the vocabulary has %q, Ansible %q", o[0], o[1], row.vars, o[2:])
				}
			}
			for _, name := range about.Magic {
				if !knows(name, sortedKeys(rows())...) {
					t.Errorf("variable %s is in no row of the vocabulary", name)
				}
			}
		})
	}
}

// inOrder says whether some are in all, in that order.
func inOrder(some, all []string) bool {
	for _, s := range some {
		i := slices.Index(all, s)
		if i < 0 {
			return false
		}
		all = all[i+1:]
	}
	return true
}

// playbooks are the releases of Ansible to test with.
func playbooks(t *testing.T) []string {
	all := strings.Fields(os.Getenv("MITOGEN_ANSIBLE"))
	if len(all) == 0 {
		if path, err := exec.LookPath("ansible-playbook"); err == nil {
			all = []string{path}
		}
	}
	if len(all) == 0 {
		t.Skip("no ansible-playbook")
	}
	if testing.Short() {
		return all[len(all)-1:] // the race detector sees the same code with each
	}
	return all
}

// pythonOf returns the interpreter that a release of Ansible runs in.
func pythonOf(t *testing.T, playbook string) string {
	text, err := os.ReadFile(playbook)
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	words := strings.Fields(strings.TrimPrefix(line, "#!"))
	if len(words) == 0 || !strings.Contains(line, "python") {
		t.Fatalf("%s is no program of Python: %q", playbook, line)
	}
	return words[0]
}

// What the table says is used must be asked for.
func TestVocabularyUsed(t *testing.T) {
	asked := map[string]bool{}
	for connection := range kinds {
		for method := range becomes {
			for _, extra := range []string{"", "mitogen_kind=docker", "mitogen_target=x",
				"ansible_password=x ansible_lxd_host=c"} {
				v := one(t, fmt.Sprintf("ansible_connection=%s ansible_become=1 ansible_become_method=%s "+
					"ansible_user=me ansible_become_flags=-n %s", connection, method, extra))
				r := &reader{host: v.Host("h"), vars: v.Vars(v.Host("h")), asked: asked}
				r.ways()
				r.text("mitogen", "via")
			}
		}
	}
	for plugin, options := range rows() {
		for option, row := range options {
			if name := plugin + " " + option; asked[name] != (row.use == used) {
				t.Errorf("option %s: asked for %v, marked %v", name, asked[name], row.use)
			}
		}
	}
}

// The names of connections are those of methods, or are known to be Ansible's own.
func TestKinds(t *testing.T) {
	for full, short := range fullNames {
		if _, ok := kinds[short]; !ok {
			t.Errorf("connection %q stands for %q, which is none", full, short)
		}
	}
	for name, k := range kinds {
		if _, ok := rows()[k.plugin]; !ok {
			t.Errorf("connection %s is of plugin %s, which the vocabulary hasn't got", name, k.plugin)
		}
		short := strings.TrimPrefix(name, "mitogen_")
		if !slices.Contains(methods.Methods(), short) && name != "paramiko_ssh" && name != "docker_api" {
			t.Errorf("connection %s is no method", name)
		}
	}
}
