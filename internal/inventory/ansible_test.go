package inventory

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	_ "github.com/mitogen-go/mitogen/internal/testenv"
)

// A sample is an inventory that Ansible and this package resolve side by side.
type sample struct {
	name    string
	Dir     string   `json:"dir"` // the working directory
	Sources []string `json:"sources"`
	Limits  []string `json:"limits"`
	refused string   // our error, where Ansible's resolution is refused
	since   string   // the first release that resolves it in this way, and why
	asks    bool     // ansible-inventory reads it
	loose   []bool   // whether a limit may be refused
}

// An answer is Ansible's resolution of a sample.
type answer struct {
	Version  string                          `json:"version"`
	Error    string                          `json:"error"`
	Unparsed []string                        `json:"unparsed"`
	Hosts    []string                        `json:"hosts"`
	Groups   map[string][]string             `json:"groups"`
	Vars     map[string]map[string][2]string `json:"vars"`
	Limits   []struct {
		Hosts []string `json:"hosts"`
		Error string   `json:"error"`
	} `json:"limits"`
}

// ansiblePythons returns, for each Ansible that the tests use, the interpreter that it runs in:
// $MITOGEN_ANSIBLE names ansible-playbook programs, or else the one in PATH.
func ansiblePythons(t *testing.T) map[string]string {
	t.Helper()
	programs := strings.Fields(os.Getenv("MITOGEN_ANSIBLE"))
	if found, err := exec.LookPath("ansible-playbook"); err == nil && len(programs) == 0 {
		programs = []string{found}
	}
	if len(programs) == 0 && os.Getenv("CI") == "true" {
		t.Fatal("no ansible-playbook: set MITOGEN_ANSIBLE, or install ansible-core")
	}
	if len(programs) == 0 {
		t.Skip("no ansible-playbook: set MITOGEN_ANSIBLE, or install ansible-core")
	}
	if testing.Short() {
		programs = programs[len(programs)-1:] // the race detector sees the same code with each
	}
	pythons := map[string]string{}
	for _, p := range programs {
		text, err := os.ReadFile(p)
		first, _, _ := strings.Cut(string(text), "\n")
		words := strings.Fields(strings.TrimPrefix(first, "#!"))
		if err != nil || len(words) == 0 || !strings.HasPrefix(first, "#!") {
			t.Fatalf("%s: %v, %q: no Python program", p, err, first)
		}
		pythons[p] = words[len(words)-1]
	}
	return pythons
}

// ask has Ansible resolve samples.
func ask(t *testing.T, python string, samples []sample) []answer {
	t.Helper()
	var in, stderr bytes.Buffer
	for _, s := range samples {
		line, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		in.Write(append(line, '\n'))
	}
	home := t.TempDir()
	writeFile(t, filepath.Join(home, "ansible.cfg"), "")
	cmd := exec.Command(python, "testdata/resolve.py")
	cmd.Stdin, cmd.Stderr = &in, &stderr
	cmd.Env = append(os.Environ(), "HOME="+home, "ANSIBLE_CONFIG="+filepath.Join(home, "ansible.cfg"),
		"ANSIBLE_LOCAL_TEMP="+home, "LC_ALL=C.UTF-8")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("run %s: %v; stderr: %s", python, err, stderr.String())
	}
	var all []answer
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var a answer
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			t.Fatal(err)
		}
		all = append(all, a)
	}
	if len(all) != len(samples) {
		t.Fatalf("%d answers for %d samples: %s", len(all), len(samples), stderr.String())
	}
	return all
}

// readSamples writes the samples of testdata/*.txtar to a directory. A file "NAME/run" says how:
// lines "-i SOURCE" (default: hosts), "-l LIMIT", "-L LIMIT" (which may be refused), "refused
// TEXT", "asks" (ansible-inventory), "since RELEASE WHY".
func readSamples(t *testing.T) []sample {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no samples", err)
	}
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var all []sample
	seen := map[string]bool{}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range archive.Files {
			name, rest, _ := strings.Cut(f.Name, "/")
			if err := os.MkdirAll(filepath.Join(root, name), 0o755); err != nil {
				t.Fatal(err)
			}
			if rest != "run" {
				writeFile(t, filepath.Join(root, f.Name), string(f.Data))
				continue
			}
			if seen[name] {
				t.Fatalf("%s: %s is there twice", file, name)
			}
			seen[name] = true
			s := parseRun(t, string(f.Data))
			s.name, s.Dir = name, filepath.Join(root, name)
			all = append(all, s)
		}
	}
	return all
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	mode := os.FileMode(0o644)
	if strings.HasPrefix(text, "#!") {
		mode = 0o755
	}
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func parseRun(t *testing.T, text string) sample {
	var s sample
	for line := range strings.Lines(text) {
		verb, rest, _ := strings.Cut(strings.TrimRight(line, "\n"), " ")
		switch verb {
		case "-i":
			s.Sources = append(s.Sources, rest)
		case "-l", "-L":
			s.Limits = append(s.Limits, rest)
			s.loose = append(s.loose, verb == "-L")
		case "refused":
			s.refused = rest
		case "asks":
			s.asks = true
		case "since":
			s.since = rest
		default:
			t.Fatalf("bad line %q", line)
		}
	}
	if s.Sources == nil {
		s.Sources = []string{"hosts"}
	}
	return s
}

// limitRefusals are the reasons for which a limit that Ansible takes is refused.
var limitRefusals = []string{"no host or group", "matches no host and no group", "brackets without",
	"empty pattern", "doesn't tell the order", "isn't supported", "aren't supported"}

// TestAgainstAnsible compares our own samples.
func TestAgainstAnsible(t *testing.T) {
	samples := readSamples(t)
	for program, python := range ansiblePythons(t) {
		answers := ask(t, python, samples)
		t.Setenv("PATH", filepath.Dir(program)+":"+os.Getenv("PATH"))
		for i, s := range samples {
			t.Run(s.name, func(t *testing.T) {
				if s.since != "" && older(answers[i].Version, s.since) {
					t.Skipf("%s: differs since %s", program, s.since)
				}
				if s.refused == "" && len(answers[i].Hosts) == 0 && s.name != "dir-empty" {
					t.Errorf("%s: no host, %s, unparsed %q", program, answers[i].Error, answers[i].Unparsed)
				}
				if diff := compare(t, s, answers[i]); diff != "" {
					t.Errorf("hosts by %s differ:\n%s", program, diff)
				}
			})
		}
	}
}

// older compares releases, of which the second number differs.
func older(version, since string) bool {
	var a, b int
	fmt.Sscanf(version, "2.%d", &a)
	fmt.Sscanf(since, "2.%d", &b)
	return a < b
}

// anyUnread returns why the variables of one of the hosts aren't known; nil if all are.
func (v *Inventory) anyUnread() error {
	for _, h := range v.hostOrder {
		if err := v.unread(h); err != nil {
			return err
		}
	}
	return nil
}

// compare resolves a sample and returns how it differs from Ansible's resolution.
func compare(t *testing.T, s sample, want answer) string {
	t.Helper()
	t.Chdir(s.Dir)
	config := filepath.Join(t.TempDir(), "ansible.cfg")
	writeFile(t, config, "")
	t.Setenv("ANSIBLE_CONFIG", config)
	v, err := loadAt(context.Background(), s.Sources, nil, s.Dir)
	if err == nil {
		err = v.anyUnread()
	}
	if s.refused != "" {
		if err == nil || !strings.Contains(err.Error(), s.refused) {
			return fmt.Sprintf("error %v, want %q", err, s.refused)
		}
		return ""
	}
	if (err != nil) != (want.Error != "" || len(want.Unparsed) > 0) {
		if err == nil && want.Error == "" && len(v.Warnings()) > 0 {
			err = errors.New("") // a file of a directory: told, and no error
		}
		if err == nil || want.Error != "" || len(want.Unparsed) == 0 {
			return fmt.Sprintf("error %v, want %q, unparsed %q", err, want.Error, want.Unparsed)
		}
	}
	if v == nil || v.anyUnread() != nil {
		return ""
	}
	var diff strings.Builder
	if got := hostNames(v.Hosts()); !slices.Equal(got, want.Hosts) {
		fmt.Fprintf(&diff, "hosts  %q\nwant   %q\n", got, want.Hosts)
	}
	for _, h := range v.Hosts() {
		if s.asks { // which doesn't tell them
			delete(want.Vars[h.Name], "inventory_file")
			delete(want.Vars[h.Name], "inventory_dir")
		}
		diff.WriteString(compareHost(v, h, want))
	}
	for i, limit := range s.Limits {
		diff.WriteString(compareLimit(v, limit, s.loose[i], want, i))
	}
	return diff.String()
}

func hostNames(hosts []*Host) []string {
	all := []string{}
	for _, h := range hosts {
		all = append(all, h.Name)
	}
	return all
}

func sameSet(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// ansibleNames are variables that Ansible gives to every host.
var ansibleNames = []string{"ansible_playbook_python", "playbook_dir", "groups", "omit",
	"ansible_facts", "ansible_local", "ansible_version",
	"ansible_config_file", "ansible_run_tags", "ansible_skip_tags", "environment", "hostvars", "vars",
	"ansible_verbosity", "ansible_check_mode",
	"ansible_diff_mode", "ansible_forks", "ansible_inventory_sources"}

func compareHost(v *Inventory, h *Host, want answer) string {
	var diff strings.Builder
	groups := []string{"all"}
	for _, g := range h.groups {
		groups = append(groups, g.name)
	}
	if !sameSet(groups, want.Groups[h.Name]) {
		fmt.Fprintf(&diff, "groups of %s %q\nwant %q\n", h.Name, groups, want.Groups[h.Name])
	}
	got := v.Vars(h)
	for name, value := range got {
		if name == "inventory_hostname_short" && strings.Contains(h.Name, "::") &&
			older(want.Version, "2.19") {
			continue // the begin of an address is one there
		}
		if x, ok := want.Vars[h.Name][name]; !ok || kindOf(value) != x {
			fmt.Fprintf(&diff, "%s of %s %q\nwant %q\n", name, h.Name, kindOf(value), x)
		}
	}
	for name, x := range want.Vars[h.Name] {
		if _, ok := got[name]; !ok && !slices.Contains(ansibleNames, name) {
			fmt.Fprintf(&diff, "%s of %s is missing\nwant %q\n", name, h.Name, x)
		}
	}
	return diff.String()
}

// kindOf is a value's type and text, as resolve.py has them.
func kindOf(v Var) [2]string {
	if v.Vault {
		return [2]string{"vault", ""}
	}
	switch x := v.Value.(type) {
	case nil:
		return [2]string{"null", ""}
	case bool:
		return [2]string{"bool", pythonText(x)}
	case int64, *big.Int:
		return [2]string{"int", pythonText(x)}
	case float64:
		return [2]string{"float", pythonText(x)}
	case string:
		return [2]string{"str", x}
	case []any:
		all := make([]string, len(x))
		for i, each := range x {
			k := kindOf(Var{Value: each})
			text, _ := json.Marshal(k[1])
			all[i] = fmt.Sprintf("[%q, %s]", k[0], text)
		}
		return [2]string{"list", "[" + strings.Join(all, ", ") + "]"}
	}
	return [2]string{"other", ""}
}

func compareLimit(v *Inventory, limit string, loose bool, want answer, i int) string {
	if strings.Contains(limit, "::") && older(want.Version, "2.19") {
		return "" // the begin of an address is one there
	}
	hosts, err := v.Select(limit)
	got, w := hostNames(hosts), want.Limits[i]
	if err != nil {
		reason := func(r string) bool { return strings.Contains(err.Error(), r) }
		switch {
		case len(w.Hosts) == 0 || loose && slices.ContainsFunc(limitRefusals, reason):
			return ""
		}
		return fmt.Sprintf("limit %q: %v\nwant %q\n", limit, err, w.Hosts)
	}
	if w.Error != "" || !slices.Equal(got, w.Hosts) {
		return fmt.Sprintf("limit %q: %q\nwant %q %s\n", limit, got, w.Hosts, w.Error)
	}
	return ""
}
