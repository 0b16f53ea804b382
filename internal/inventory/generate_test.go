package inventory

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A generator makes an inventory and limits of a seed.
type generator struct {
	*rand.Rand
	files  map[string]*strings.Builder
	groups []string
	hosts  []string
}

// kinds of generated samples, each with the number in a usual run.
var generated = []struct {
	name  string
	count int
	make  func(g *generator, s *sample)
}{
	{"tree", 40, (*generator).tree},
	{"values of :vars", 10, (*generator).iniValues},
	{"host line", 40, (*generator).hostLine},
	{"host name", 50, (*generator).hostName},
	{"YAML scalars", 20, (*generator).yamlScalars},
	{"YAML keys", 20, (*generator).yamlShapes},
	{"YAML text", 40, (*generator).yamlText},
	{"expressions", 10, (*generator).expressions},
	{"limits", 30, (*generator).limits},
	{"files of all forms", 40, (*generator).forms},
}

// sourceRefusals are the reasons for which an inventory that Ansible takes is refused.
var sourceRefusals = []string{"differ in", "is not a number", "by its name", "bad step", "no ] in",
	"no name of a host",
	"neither two numbers nor two letters", "not YAML", "there is no group", "a null key",
	"!vault: not text"}

// TestGenerated compares generated samples; many more with MITOGEN_SOAK=1.
func TestGenerated(t *testing.T) {
	config := filepath.Join(t.TempDir(), "ansible.cfg")
	writeFile(t, config, "")
	t.Setenv("ANSIBLE_CONFIG", config)
	times := 1
	if os.Getenv("MITOGEN_SOAK") != "" {
		times = 50
	}
	var samples []sample
	kinds := map[string][]int{} // indexes of samples
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for i, kind := range generated {
		for seed := range kind.count * times {
			kinds[kind.name] = append(kinds[kind.name], len(samples))
			samples = append(samples, fill(t, filepath.Join(root, fmt.Sprint(i)), uint64(seed), kind.make))
		}
	}
	for program, python := range ansiblePythons(t) {
		answers := ask(t, python, samples)
		for name, indexes := range kinds {
			t.Run(name, func(t *testing.T) {
				compareGenerated(t, program, indexes, samples, answers)
			})
		}
	}
}

func fill(t *testing.T, root string, seed uint64, make func(*generator, *sample)) sample {
	t.Helper()
	s := sample{name: fmt.Sprint(seed), Dir: filepath.Join(root, fmt.Sprint(seed))}
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 21)), files: map[string]*strings.Builder{}}
	make(g, &s)
	if s.Sources == nil {
		s.Sources = []string{"hosts"}
	}
	s.loose = slices.Repeat([]bool{true}, len(s.Limits))
	for name, text := range g.files {
		writeFile(t, filepath.Join(s.Dir, name), text.String())
	}
	return s
}

func compareGenerated(t *testing.T, program string, indexes []int, samples []sample,
	answers []answer) {
	t.Helper()
	refused, limits, all := 0, 0, 0
	for _, i := range indexes {
		s, a := samples[i], answers[i]
		all += len(s.Limits)
		t.Chdir(s.Dir)
		v, err := loadAt(context.Background(), s.Sources, nil, s.Dir)
		if err == nil {
			err = v.anyUnread()
		}
		named := func(r string) bool { return strings.Contains(err.Error(), r) }
		if err != nil && a.Error == "" && len(a.Unparsed) == 0 &&
			slices.ContainsFunc(sourceRefusals, named) {
			refused++
			continue
		}
		for j, limit := range s.Limits {
			if v == nil {
				break
			}
			if _, err := v.Select(limit); err != nil && len(a.Limits) > j && len(a.Limits[j].Hosts) > 0 {
				limits++
			}
		}
		if diff := compare(t, s, a); diff != "" {
			t.Errorf("%s, seed %s:\n%s%s", program, s.name, diff, show(s.Dir))
		}
	}
	if refused*3 > len(indexes)*2 || limits*3 > all {
		t.Errorf("%s: %d of %d inventories and %d of %d limits are refused", program, refused,
			len(indexes), limits, all)
	}
}

// show returns the files of a sample.
func show(dir string) string {
	var b strings.Builder
	filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			text, _ := os.ReadFile(path)
			name, _ := filepath.Rel(dir, path)
			fmt.Fprintf(&b, "-- %s --\n%s", name, text)
		}
		return nil
	})
	return b.String()
}

func (g *generator) file(name string) *strings.Builder {
	if g.files[name] == nil {
		g.files[name] = &strings.Builder{}
	}
	return g.files[name]
}

func (g *generator) one(of ...string) string { return of[g.IntN(len(of))] }

func (g *generator) chance(percent int) bool { return g.IntN(100) < percent }

// text makes a text of pieces.
func (g *generator) text(most int, pieces ...string) string {
	var b strings.Builder
	for range g.IntN(most + 1) {
		b.WriteString(g.one(pieces...))
	}
	return b.String()
}

// some returns a few of a list, in an order of their own.
func (g *generator) some(of []string, most int) []string {
	all := slices.Clone(of)
	g.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(g.IntN(most+1), len(all))]
}

var generatedHosts = []string{"web1", "web2", "web3", "db-a", "db-b", "mail", "10.0.0.1",
	"10.0.0.2", "a.example.org", "b.example.org", "localhost", "fe80::1"}

// tree makes groups with hosts, children and variables at all levels, in one or several sources.
func (g *generator) tree(s *sample) {
	g.groups = []string{"all", "ungrouped", "web", "db", "east", "west", "top", "g-1"}
	g.hosts = generatedHosts
	s.Sources = [][]string{{"hosts"}, {"hosts.yml"}, {"inv"}, {"hosts", "inv"}, {"hosts.yml", "inv"},
		{"inv", "web1,new,db-a:23"}}[g.IntN(6)]
	for _, source := range s.Sources {
		switch source {
		case "hosts":
			g.ini("hosts")
		case "hosts.yml":
			g.yaml("hosts.yml")
		case "inv":
			for _, name := range g.some([]string{"1", "2.yml", "a", "B.yml", "sub/x", "sub/y.yml"}, 4) {
				if strings.HasSuffix(name, ".yml") {
					g.yaml("inv/" + name)
				} else {
					g.ini("inv/" + name)
				}
			}
			g.file("inv/zz").WriteString("[last]\nlast\n")
			g.varsFiles("inv/")
		}
	}
	g.varsFiles("")
	for range 6 {
		s.Limits = append(s.Limits, g.limit())
	}
}

func (g *generator) varsFiles(dir string) {
	for _, name := range g.some(g.groups, 4) {
		g.vars(g.file(dir+"group_vars/"+name+
			g.one("", ".yml", ".yaml", ".json", "/main.yml", "/sub/x", "/x.json")), "%s: %s\n")
	}
	for _, name := range g.some(g.hosts, 3) {
		g.vars(g.file(dir+"host_vars/"+name+g.one("", ".yml", ".yaml", "/main.yml")), "%s: %s\n")
	}
}

// vars writes some variables, each in the form.
func (g *generator) vars(b *strings.Builder, form string) {
	for _, name := range g.some([]string{"v1", "v2", "v3", "v4", "ansible_user", "ansible_port"}, 4) {
		fmt.Fprintf(b, form, name, g.one("1", "2", "'a'", "b", "0123", "yes", "True",
			"x-"+fmt.Sprint(g.IntN(1000))))
	}
}

// below returns the groups that may be children of one: those behind it.
func (g *generator) below(name string) []string {
	i := slices.Index(g.groups, name)
	return slices.DeleteFunc(slices.Clone(g.groups[i+1:]),
		func(n string) bool { return n == "ungrouped" })
}

func (g *generator) ini(name string) {
	b := g.file(name)
	for _, group := range append([]string{""}, g.some(g.groups, len(g.groups))...) {
		if group != "" {
			fmt.Fprintf(b, "[%s]\n", group)
		}
		for _, host := range g.some(append([]string{"web[1:3]", "db-[a:b]:2222", "10.0.0.[1:2]"},
			g.hosts...), 4) {
			b.WriteString(host)
			g.vars(b, " %s=%s")
			b.WriteString("\n")
		}
	}
	for _, group := range g.some(g.groups, 5) {
		fmt.Fprintf(b, "[%s:vars]\n", group)
		g.vars(b, "%s=%s\n")
		if g.chance(40) {
			fmt.Fprintf(b, "ansible_group_priority=%d\n", g.IntN(4))
		}
	}
	for _, group := range g.some(g.groups, 4) {
		fmt.Fprintf(b, "[%s:children]\n", group)
		for _, child := range g.some(g.below(group), 3) {
			fmt.Fprintf(b, "%s\n", child)
		}
	}
	for _, group := range g.groups {
		fmt.Fprintf(b, "[%s]\n", group)
	}
}

func (g *generator) yaml(name string) {
	b := g.file(name)
	for _, group := range append(g.some(g.groups, len(g.groups)), "last") {
		g.yamlGroup(b, group, "")
	}
}

func (g *generator) yamlGroup(b *strings.Builder, group, indent string) {
	fmt.Fprintf(b, "%s%s:\n", indent, group)
	for _, section := range g.some([]string{"hosts", "vars", "children"}, 3) {
		fmt.Fprintf(b, "%s  %s:\n", indent, section)
		switch section {
		case "hosts":
			for _, host := range g.some(append([]string{"web[1:3]", "db-[a:b]:2222"}, g.hosts...), 4) {
				fmt.Fprintf(b, "%s    %s:\n", indent, host)
				g.vars(b, indent+"      %s: %s\n")
			}
		case "vars":
			g.vars(b, indent+"    %s: %s\n")
			if g.chance(30) {
				fmt.Fprintf(b, "%s    ansible_group_priority: %d\n", indent, g.IntN(4))
			}
		case "children":
			if group == "last" {
				continue
			}
			for _, child := range g.some(g.below(group), 3) {
				if g.chance(50) && len(indent) < 12 {
					g.yamlGroup(b, child, indent+"    ")
				} else {
					fmt.Fprintf(b, "%s    %s:\n", indent, child)
				}
			}
		}
	}
}

// limit makes a limit of names, globs, expressions, subscripts, signs and separators.
func (g *generator) limit() string {
	var all []string
	for range 1 + g.IntN(3) {
		p := g.one(append(g.groups, g.hosts...)...)
		switch g.IntN(8) {
		case 0:
			p = g.one("web*", "*", "*.example.org", "?eb1", "web[!1]", "web[12]", "db-[!a]*", "al*",
				"[a-d]*", "10.0.0.*", "w*t", "*1")
		case 1:
			p = g.one("~web.*", "~.*1$", "~(east|west)", "~^db", "~a", "~we?b[12]", "~10\\.0")
		}
		if g.chance(30) {
			p += g.one("[0]", "[1]", "[-1]", "[0:1]", "[1:]", "[2:2]", "[0:0]", "[-2]", "[1-2]", "[5]")
		}
		if g.chance(30) {
			p = g.one("!", "&") + p
		}
		all = append(all, p)
	}
	return strings.Join(all, g.one(",", ":", " ", ", ", ","))
}

// iniValues makes values out of the characters that literals have.
func (g *generator) iniValues(*sample) {
	b := g.file("hosts")
	b.WriteString("[g]\na\n[g:vars]\n")
	for i := range 40 {
		fmt.Fprintf(b, "v%d=%s\n", i,
			g.text(7, "1", "0", "2", "5", "_", ".", "e", "E", "x", "o", "b", "j", "-", "+", "'", "\"", "\\",
				"n", "r", "u", "[", "]", "(", ")", "{", "}",
				",", ":", " ", "#", ";", "=", "True", "None", "'a'", "\"b\"", "\\x41", "\\u0041", "\\101", "é"))
	}
}

// hostLine makes one line of words, quotes, backslashes and comments.
func (g *generator) hostLine(*sample) {
	fmt.Fprintf(g.file("hosts"), "first\na v0=1 v1=%s\n",
		g.text(10, "1", "a", "'", "\"", "\\", " v2=", " ", "#", ";", "=", "'b c'", "\"d e\"", "\\\"",
			"\\'", "\t", "[1]", "{}", "é", ","))
}

// hostName makes one name with ranges and ports.
func (g *generator) hostName(s *sample) {
	name := g.text(6, "a", "web", "1", "x", "-", "_", ".", ":", "[1:3]", "[01:03]", "[a:c]", "[", "]",
		"[1:5:2]", ":22", ":0", "[B:d]", "::", "fe80", "[0:f]", "10.0.0.1", "[:2]", "é", "|", "[8:11]")
	fmt.Fprintf(g.file("hosts.ini"), "first\n%s v=1\n", name)
	s.Sources = []string{"hosts.ini"}
	if g.chance(30) {
		s.Sources = []string{strings.Trim(name, "@") + ",b"}
	}
}

// yamlScalars makes plain and quoted scalars.
func (g *generator) yamlScalars(s *sample) {
	s.Sources = []string{"hosts.yml"}
	b := g.file("hosts.yml")
	b.WriteString("all:\n  hosts:\n    a:\n")
	for i := range 30 {
		form := g.one("%s", "%s", "%s", "%s", "'%s'", "\"%s\"", "!!str %s")
		fmt.Fprintf(b, "      v%d: "+form+"\n", i,
			g.text(6, "1", "0", "2", "5", "9", "_", ".", "e+", "e", "x", "0b", "0o", "0x", "+", "-", ":",
				":30", "y", "n", "yes", "No", "on", "~", "null", "T", "Z",
				"2024-01-02", " 10:11:12", "inf", ".nan", "F"))
	}
}

// yamlShapes makes mappings with merges, anchors, duplicates and keys of all kinds.
func (g *generator) yamlShapes(s *sample) {
	s.Sources = []string{"hosts.yml"}
	b := g.file("hosts.yml")
	b.WriteString("x-one: &one {name_a: 1, name_b: 2}\nx-two: &two {name_c: 3, <<: *one}\nx-three: " +
		"&three {name_d: 5, name_c: 4}\nx-four: &four {name_d: 6}\nall:\n  hosts:\n")
	for _, host := range g.some([]string{"a", "b", "c", "\"5\"", "'on'", "a", "web[1:2]", "d"}, 8) {
		fmt.Fprintf(b, "    %s: {", host)
		for range g.IntN(5) {
			b.WriteString(g.one("<<: *one, ", "<<: *two, ", "<<: [*one, *four], ", "<<: [*two, *four], ",
				"<<: [*four, *three], ", "name_a: 9, ", "name_b: 8, ", "name_d: 7, ", "name_e: {<<: *one}, ",
				"name_a: yes, ", "<<: [*one], "))
		}
		b.WriteString("}\n")
	}
	fmt.Fprintf(b, "  vars: {%s}\n", g.one("", "<<: *one", "<<: *two, name_z: 1", "name_z: *one"))
}

// yamlText makes values out of the characters that YAML has.
func (g *generator) yamlText(s *sample) {
	s.Sources = []string{"hosts.yml"}
	b := g.file("hosts.yml")
	b.WriteString("all:\n  hosts:\n    a:\n      v0: &x 1\n")
	for i := range 1 + g.IntN(3) {
		fmt.Fprintf(b, "      v%d: %s\n", i+1,
			g.text(8, "a", "1", " ", "  ", "'", "\"", "''", "\\n", "\\x41", "\\", ":", ": ", " #", "#", "[",
				"]", "{", "}", ",", ", ", "- ", "? ", "|\n        ", ">-\n        ", "\n        ", "*x", "&y ",
				"!", "!!str ",
				"!!int ", "!vault ", "%", "@", "`", "~", "-", "=", "<<", "b: 1", "é", "%TAG", "---", "...",
				"yes", "0x1"))
	}
}

// limits makes limits out of the characters that patterns have.
func (g *generator) limits(s *sample) {
	g.file("hosts").WriteString("lone\n[web]\nweb1\nweb2\nweb10\nw-1\n[db]\ndb1\ndb-a\nweb1\n[we]\n" +
		"w1\n[top:children]\ndb\nweb\n")
	for range 30 {
		s.Limits = append(s.Limits, g.text(7, "w", "e", "b", "web", "1", "2", "0", "-", "*", "?", "[",
			"]", "!", "^", "[0]", "[1:2]", "[!1]", "[a-z]", "[-1]", "db", ":", ",", "&", "!", "~", ".", ".*",
			"(", ")", "|", "$", " ", "\\d", "+", "top", "all"))
	}
}

// expressions makes regular expressions. The comma keeps each in one piece.
func (g *generator) expressions(s *sample) {
	g.file("hosts").WriteString("lone\n[web]\nweb1\nweb2\nweb10\nw-1\nWEB3\n[db]\ndb1\ndb-a\nd.b\n" +
		"[we]\nw1\n")
	for range 30 {
		s.Limits = append(s.Limits, "~"+
			g.text(6, "w", "e", "b", "web", "1", "[", "]", "[^", "[a-z]", "[0-9]", "(", ")", "(?:", "(?i)",
				"(?P<n>", "|", "*", "+", "?", "{2}", "{0;2}", "{1}", "^", "$", ".", "\\.", "\\d", "\\w", "\\W",
				"\\b", "\\B", "\\s",
				"\\A", "\\Z", "\\z", "-", "\\-", "\\]", "\\x77", "\\u0077", "\\167", "\\e", "db", "\\")+",lone")
	}
}

// formTexts are contents of files, of which some are no inventories.
var formTexts = []string{
	"web1 v=1\nweb2\n", "[web]\nweb1\nweb2 v=2\n",
	"---\nweb:\n  hosts:\n    web1:\n    web3: {v: 3}\n", "web:\n  hosts: web2\n  note: x\n",
	"web:\n  children: db\ndb:\n", "db: {hosts: {db-a: }, vars: {v: db}, other: {x: 1}}\n",
	"{\"db\": {\"hosts\": {\"db-a\": null}, \"vars\": {\"w\": true}}}\n",
	"ungrouped:\n  hosts: {web1: , mail: }\n",
	"[ungrouped]\nmail\n[web]\nmail\n",
	"all:\n  hosts: {mail: {v: '1'}}\n  children: {ungrouped: {hosts: {x: }}}\n",
	"[db:vars]\nv=late\n[web]\nweb1\n", "[db:vars]\nv=of-another\n", "[top:children]\nweb\n[web]\n",
	"MIT License\n\nCopyright (c) 2024 Somebody\n", "Apache\nLicense version\n", "", "# only this\n",
	"\n\n", "---\n", "--- # nothing\n", "[]\n", "{}\n", "- a\n- b\n", "web: {\n", "null\n",
	"just text\n", "5\n", "web:\nmail:\n",
	"web:\n  hosts:\n    web1:\nplugin: ''\n", "[web]\n", "[web:children]\n",
	"web1 # a comment\n;web2\n", "web[1:2]:2222\n[2001:db8::1]:2222\n[db]\n2001:db8::2\n",
	"web1\nweb1 v=again\n[web]\nweb1 v=last\n",
}

// forms makes directories of files whose form the content decides, whatever their names.
func (g *generator) forms(s *sample) {
	s.Sources = []string{"inv"}
	g.file("inv/0").WriteString("first\n[db]\ndb-b\n")
	names := []string{"a", "b.yml", "c.yaml", "d.json", "e.conf", "LICENSE", "README", "f.txt",
		"g.d/a", "g.d/b.yml", "h.bak", ".i"}
	for _, name := range g.some(names, 4) {
		g.file("inv/" + name).WriteString(g.one(formTexts...))
	}
	g.file("inv/group_vars/web.yml").WriteString(g.one("v: 5\n", "w: !unsafe '{{ x }}'\n", "---\n",
		"{}\n"))
	s.Limits = []string{"ungrouped", "web", "all:!ungrouped", "db,web", "ungrouped[0]"}
}
