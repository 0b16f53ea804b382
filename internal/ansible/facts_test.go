package ansible_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/ansible"
	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/internal/testpython"
)

// collection has the stage use the plugin as a collection, and returns its name.
func (s *stage) collection() string {
	s.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	dir := filepath.Join(s.dir, "collections")
	if _, err := ansible.UnpackCollection(dir, exe, "1.0.0"); err != nil {
		s.t.Fatal(err)
	}
	s.env = append(s.env, "ANSIBLE_COLLECTIONS_PATH="+dir, "ANSIBLE_COLLECTIONS_PATHS="+dir)
	return "mitogen_go.mitogen.mitogen"
}

// forms runs a test with the release whose turn it is, and the plugin in one of its forms, as a
// file or as a collection. The form is drawn, so that each release has each form on some day.
// `make test-ansible` runs all.
func forms(t *testing.T, number int, test func(t *testing.T, s *stage, plugin string)) {
	if testing.Short() {
		t.Skip("long")
	}
	first := testpython.Draw(t.Name()).IntN(2)
	for i, playbook := range turn(t, number) {
		for form, name := range []string{"file", "collection"} {
			if !everything() && form != (first+i)%2 {
				continue
			}
			t.Run(release(t, playbook)+"/"+name, func(t *testing.T) {
				s := newStage(t, playbook)
				plugin := "mitogen"
				if name == "collection" {
					plugin = s.collection()
				}
				test(t, s, plugin)
			})
		}
	}
}

// What a module has answered, or a fact cache holds, never decides how a host is reached or what is
// executed here, whether it is of the host or of one on the way: an attempt names host and
// variable, and nothing is done.
func TestFactsDecideNothing(t *testing.T) {
	forms(t, 1, func(t *testing.T, s *stage, plugin string) {
		pwned := filepath.Join(s.dir, "pwned")
		program := filepath.Join(s.dir, "program")
		if err := os.WriteFile(program, []byte("#!/bin/sh\ntouch "+pwned+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		execute := "exec:sh -c 'touch " + pwned + `; exec "$@"' sh`
		facts := map[string]map[string]any{
			"exec":      {"mitogen_target": execute},
			"local":     {"mitogen_target": "local"},
			"prefixed":  {"ansible_mitogen_target": execute},
			"via":       {"mitogen_via": lab.Free},
			"viatarget": {"ansible_mitogen_via": "exec:touch " + pwned},
			"program":   {"mitogen_executable": program},
			"persist":   {"mitogen_persist": true},
			"native":    {"ansible_mitogen_native": true},
			"keys":      {"ansible_host_key_checking": false},
			"renamed":   {"inventory_hostname": "localhost"},
			"pair":      {"ansible_host_key_checking": false, "host_key_checking": "one name among facts"},
			"nested": {"ansible_facts": map[string]any{"mitogen_target": "local"},
				"mitogen_target": "local"},
		}
		harmless := map[string]any{"port": 1, "user": "nobody", "host": "192.0.2.1", "target": "local",
			"via": "x", "mitogen_version": "1", "password": "x",
			"hostvars": map[string]any{
				"plain": map[string]any{"mitogen_target": "local"}},
			"delegated_vars['ansible_host']": "192.0.2.1",
			"ansible_delegated_vars": map[string]any{
				"plain": map[string]any{"mitogen_target": "local"}}}
		var lines strings.Builder
		add := func(name string, evil map[string]any, more string) {
			text := ""
			if evil != nil {
				b, err := json.Marshal(evil)
				if err != nil {
					t.Fatal(err)
				}
				text = "evil='" + strings.ReplaceAll(string(b), "'", `'"'"'`) + "'"
			}
			fmt.Fprintf(&lines, "%s ansible_host=%s %s %s\n", name, lab.Play, text, more)
		}
		for name, evil := range facts {
			add(name, evil, "")
		}
		add("plain", harmless, "")
		add("cacheable", nil, "sets=1")
		// The hop's own facts, with the inventory's word against them: it is refused all the same.
		add("hop", map[string]any{"mitogen_target": "exec:touch " + pwned}, "")
		add("behind", nil, "mitogen_via=hop")
		// An interpreter that cached facts name isn't started on the way, which here is this machine (the
		// second playbook).
		add("here", nil, "ansible_connection=local")
		add("inner", nil, "mitogen_via=here interpreter="+program)
		cache := filepath.Join(s.dir, "cache")
		s.env = append(s.env, "ANSIBLE_CACHE_PLUGIN=jsonfile", "ANSIBLE_CACHE_PLUGIN_CONNECTION="+cache,
			"ANSIBLE_FORKS=4")
		results, out := s.play(plugin, "facts.yml", lab.Play, "-i", s.inventory(lines.String()), "-l",
			"hosts")
		got := stdout(results)
		if got["plain who"] != lab.Play || !strings.Contains(got["plain raw"], "127.0.0.1") {
			t.Errorf("with harmless facts: got %q, %q", got["plain who"], got["plain raw"])
		}
		for name, variable := range map[string]string{"exec": "mitogen_target", "local": "mitogen_target",
			"prefixed": "mitogen_target", "via": "mitogen_via", "viatarget": "mitogen_via",
			"program": "mitogen_executable", "persist": "mitogen_persist", "native": "mitogen_native",
			"keys": "ansible_host_key_checking", "pair": "ansible_host_key_checking",
			"nested":    "mitogen_target",
			"cacheable": "mitogen_target", "hop": "mitogen_target"} {
			if why := got[name+" who"]; !strings.Contains(why, "host "+name+": ") ||
				!strings.Contains(why, variable+" is a fact") || !strings.HasPrefix(why, "unreachable") {
				t.Errorf("%s: got %q, want an error that names host and %s", name, why, variable)
			}
		}
		if why := got["renamed who"]; !strings.Contains(why, "inventory_hostname is a fact") {
			t.Errorf("renamed: got %q, want an error that names inventory_hostname", why)
		}
		if why := got["behind who"]; !strings.Contains(why, "host hop: mitogen_target is a fact") {
			t.Errorf("behind: got %q, want an error that names the hop and mitogen_target", why)
		}
		// The next playbook finds the fact in the cache.
		results, out2 := s.play(plugin, "pid.yml", lab.Play, "-i", s.inventory(lines.String()), "-l",
			"program,plain,inner")
		got = stdout(results)
		if why := got["program pid"]; !strings.Contains(why,
			"host program: mitogen_executable is a fact") ||
			strings.Contains(got["plain pid"], "unreachable") {
			t.Errorf("from the cache: got %q, %q, want an error that names host and mitogen_executable, "+
				"and a number\n%s", why, got["plain pid"], out2)
		}
		if _, err := os.Stat(pwned); err == nil {
			t.Error("a fact was executed here")
		}
		if t.Failed() {
			t.Log(last(out))
		}
		s.quiet(nil)
	})
}

// Facts that an item of a loop brings stand beside Ansible's own variables for the next item. What
// decides is refused where they replace it.
func TestFactsOfALoopDecideNothing(t *testing.T) {
	forms(t, 2, func(t *testing.T, s *stage, plugin string) {
		pwned := filepath.Join(s.dir, "pwned")
		at := " ansible_host=" + lab.Play + "\n"
		list := s.inventory("plain" + at + "hop" + at + "behind mitogen_via=hop" + at)
		results, out := s.play(plugin, "factloop.yml", lab.Play, "-i", list, "-l", "behind", "-e",
			"evil='exec:touch "+pwned+"'", "-e", python3)
		said := map[string]string{}
		for _, r := range results {
			b, err := json.Marshal(r.Value)
			if err != nil {
				t.Fatal(err)
			}
			said[r.Task] = r.What + string(b)
		}
		if why := said["hostvars"]; !strings.Contains(why, "host behind: hostvars is a fact") {
			t.Errorf("hostvars among the facts: got %s, want an error that names host and variable", why)
		}
		// Recent releases make these variables anew for each item.
		if why := said["delegated"]; !strings.HasPrefix(why, "ok") &&
			!strings.Contains(why, "host plain: ansible_delegated_vars is a fact") {
			t.Errorf("ansible_delegated_vars among the facts: got %s, want an error that names host and "+
				"variable", why)
		}
		if !strings.HasPrefix(said["after"], "ok") {
			t.Errorf("a task after the loop: got %s, want ok", said["after"])
		}
		if _, err := os.Stat(pwned); err == nil {
			t.Error("a fact was executed here")
		}
		if t.Failed() {
			t.Log(last(out))
		}
		s.quiet(nil)
	})
}
