package inventory

import (
	"context"
	"strings"
	"testing"
)

// reasons returns what Chain says of each host: its target, or the error.
func reasons(v *Inventory) map[string]string {
	all := map[string]string{}
	for _, h := range v.Hosts() {
		if chain, err := v.Chain(h); err != nil {
			all[h.Name] = "!" + err.Error()
		} else {
			all[h.Name] = chain[len(chain)-1].Target
		}
	}
	return all
}

// A host whose line or files can't be read is reported, and the other hosts are reached.
func TestOneBadHost(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  map[string]string
	}{
		{"lines", map[string]string{"hosts": "a\nb x\nc ansible_port=22\n[web]\n'd y\nweb[1:x]\n" +
			"web[01:1] ansible_user=me\ne z=1 'f\ng\\\n"}, map[string]string{
			"a": "a", "c": "c:22", "b": `!hosts:2: behind host b: not NAME=VALUE: "x"`,
			"'d":        "!hosts:5: a quote without its end",
			"web[1:x]":  "!hosts:6: range [1:x]",
			"web[01:1]": "!hosts:7: range [01:1]: ends of different width", "e": "!hosts:8: a quote",
			`g\`: "!hosts:9: a backslash"}},
		{"again", map[string]string{"hosts": "[g]\na ansible_port=1\nb\nc\na ansible_port\n"},
			map[string]string{"b": "b", "c": "c", "a": "!hosts:5: behind host a"}},
		{"hosts that are named elsewhere too",
			map[string]string{"hosts": "web1\nweb2\nd\nweb[1:2] ansible_user=me oops\nd:2222 oops\ne\n"},
			map[string]string{
				"web1": "!hosts:4: behind host web[1:2]", "web2": "!hosts:4: behind host web[1:2]",
				"d": "!hosts:5: behind host d:2222", "e": "e"}},
		{"the same in YAML", map[string]string{"hosts": "all:\n  hosts:\n    web1:\n    web2:\n    " +
			"web[1:2]: 3\n    e:\n"}, map[string]string{
			"web1": "!hosts:5: host web[1:2]", "web2": "!hosts:5: host web[1:2]", "e": "e"}},
		{"not UTF-8", map[string]string{"hosts": "a\nb\nc x=\"\xff\"\n[g]\n"}, nil},
		{"YAML", map[string]string{"hosts": "all:\n  hosts:\n    a:\n    b: 3\n    5: {ansible_user: " +
			"x}\n    c[1:x]:\n    d: [1]\n"}, map[string]string{
			"a": "a", "b": "!hosts:4: host b: not a mapping", "5": "!hosts:5: host 5: its name is not text",
			"c[1:x]": "!hosts:6: range", "d": "!hosts:7: host d"}},
		{"names", map[string]string{"hosts": "a\n-oProxyCommand=x\nb;c\nexec:id\n[g]\nlocal+exec:sh\n"},
			map[string]string{
				"a": "a", "-oProxyCommand=x": "!hosts:2: host", "b;c": "!hosts:3: host b;c",
				"exec:id": "!hosts:4: host exec:id", "local+exec:sh": "!hosts:6: host"}},
		{"files of a group", map[string]string{"hosts": "a\n[web]\nb\n[db]\nc\n",
			"group_vars/web.yml": "x: {", "host_vars/c": "- 1\n"}, map[string]string{
			"a": "a", "b": "!group_vars/web.yml: not YAML", "c": "!host_vars/c:1: file: not a mapping"}},
		{"files of a parent", map[string]string{"hosts": "[web]\nb\n[up:children]\nweb\n[db]\nc\n",
			"group_vars/up": "!x\n"}, map[string]string{"c": "c", "b": "!group_vars/up"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := write(t, tt.files)
			v, err := Load(context.Background(), []string{dir + "/hosts"}, nil)
			if tt.want == nil {
				if err == nil {
					t.Error("got no error, want one")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := reasons(v)
			for name, want := range tt.want {
				text, fails := strings.CutPrefix(want, "!")
				said := strings.ReplaceAll(got[name], dir+"/", "")
				if fails && !strings.HasPrefix(said, "!"+text) || !fails && said != text {
					t.Errorf("host %s: got %q, want %q", name, said, want)
				}
			}
			if len(got) != len(tt.want) {
				t.Errorf("got %d hosts, want %d: %v", len(got), len(tt.want), got)
			}
		})
	}
}

// Text that is no inventory is an error by itself, and passed over among the files of a directory.
func TestProse(t *testing.T) {
	for _, text := range []string{
		"MIT License\n\nCopyright (c) 2024 Somebody\n", "Notes\n\nask me first\nand then him\n",
		"a\nb c\n", "TODO: hosts\n- one\n- two\n",
		"# title\nonly words here\n", "'quoted\n", "---\nthis is\nno mapping\n",
	} {
		dir := write(t, map[string]string{"inv/hosts": "web\n", "inv/NOTES": text})
		if _, err := Load(context.Background(), []string{dir + "/inv/NOTES"}, nil); err == nil {
			t.Errorf("%q by itself: got no error, want one", text)
		}
		v, err := Load(context.Background(), []string{dir + "/inv"}, nil)
		if err != nil {
			t.Errorf("%q beside: %v", text, err)
			continue
		}
		if warned := strings.Join(v.Warnings(), "; "); !strings.Contains(warned, "NOTES") ||
			reasons(v)["web"] != "web" {
			t.Errorf("%q beside: warnings %q, hosts %v", text, warned, reasons(v))
		}
	}
}
