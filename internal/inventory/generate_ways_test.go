package inventory

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// values has, for each option, the values that generated inventories try.
var values = map[string][]any{
	"any become":        {true, false, "yes", "no", "1", "on", "T", 0, 1, "{{ yes_or_no }}"},
	"any become_method": {"sudo", "su", "ansible.builtin.sudo", ""},
	"any connection":    {"ssh", "smart", "local", "ansible.builtin.ssh"},
	"any python":        {"/opt/py", "auto", "/usr/bin/env python3"}, "any timeout": {5, "15"},
	"ssh host": {"a", "a.example", "10.0.0.1", "{{ inventory_hostname }}.x", "fe80::2", "me@b",
		nil},
	"ssh port":              {22, "2222", 65535, nil, "{{ some_port }}"},
	"ssh remote_user":       {"a", "b-c", "", nil, "d@e", "{{ some_user | default('x') }}"},
	"ssh password":          {"p", "q r", "", nil, 123, true},
	"ssh private_key_file":  {"/k", "~/k", "", "/a b", nil},
	"ssh host_key_checking": {true, false, "no", "yes", nil},
	"ssh ssh_args": {"", "-C", "-o User=x", "-o ProxyJump=j -o Port=23",
		"-o StrictHostKeyChecking=yes"}, "ssh ssh_executable": {"ssh", "/usr/bin/ssh"},
	"ssh ssh_common_args": {"", "-o ProxyJump=k", "-o 'ProxyCommand=nc %h %p'", "-l y"},
	"ssh ssh_extra_args":  {"", "-o Port=24", "-J l,m", `-o "UserKnownHostsFile=/x /y"`},
	"ssh timeout":         {7, "8"}, "ssh reconnection_retries": {3}, "ssh use_tty": {false},
	"ssh pipelining":   {true},
	"sudo become_user": {"a", "", "b", nil}, "sudo become_pass": {"p", "", nil, 7},
	"sudo become_exe":   {"/opt/sudo", "sudo", nil},
	"sudo become_flags": {"-H", "", "-i", "-HSn", "-E -g x", "-n -S --preserve-env=A", nil},
	"su become_user":    {"c", ""}, "su become_pass": {"s", ""}, "su become_exe": {"/opt/su"},
	"su become_flags": {"", "-l", "-m"},
}

// generateWays returns an inventory of random variables, at three levels, from a seed.
func generateWays(seed uint64, hosts int) string {
	random := rand.New(rand.NewPCG(seed, 0))
	vars := func(chance float64) map[string]any {
		all := map[string]any{}
		for _, name := range sortedKeys(values) {
			plugin, option, _ := strings.Cut(name, " ")
			for _, v := range rows()[plugin][option].vars {
				if choices := values[name]; v != "inventory_hostname" && random.Float64() < chance {
					all[v] = choices[random.IntN(len(choices))]
				}
			}
		}
		return all
	}
	top := vars(0.02)
	top["yes_or_no"], top["some_port"] = "yes", 2200
	names, group := map[string]any{}, map[string]any{}
	for i := range hosts {
		name := fmt.Sprintf("h%d", i)
		names[name] = vars(0.25)
		if random.IntN(2) == 0 {
			group[name] = nil
		}
	}
	text, err := json.MarshalIndent(map[string]any{"all": map[string]any{"hosts": names, "vars": top,
		"children": map[string]any{"g": map[string]any{"hosts": group, "vars": vars(0.1)}}}}, "", " ")
	if err != nil {
		panic(err) // values are plain
	}
	return string(text)
}

var seeds = flag.Uint64("seeds", 1, "how many inventories to generate")

func TestGeneratedWaysAgainstAnsible(t *testing.T) {
	all := playbooks(t)
	for _, playbook := range slices.Compact([]string{all[0], all[len(all)-1]}) {
		t.Run(playbook, func(t *testing.T) {
			t.Parallel()
			const hosts = 40
			for seed := range *seeds {
				file := filepath.Join(write(t, map[string]string{"hosts.yml": generateWays(seed, hosts)}),
					"hosts.yml")
				if refused := differ(t, playbook, file); refused > hosts/2 {
					t.Errorf("seed %d: %d of %d hosts are refused that Ansible takes", seed, refused, hosts)
				}
			}
		})
	}
}
