package ansible

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestPythonString(t *testing.T) {
	for literal, want := range map[string]string{
		`'a'`: "a", `"it's"`: "it's", `'it\'s'`: "it's", `'a\\n'`: `a\n`, `'\x41\u00e9\U0001f600'`: "Aé😀",
		`'\n\t'`: "\n\t", `''`: "", `'ü'`: "ü",
	} {
		if got, err := pythonString(literal); err != nil || got != want {
			t.Errorf("pythonString of %s: got %q, %v; want %q", literal, got, err, want)
		}
	}
	for _, literal := range []string{``, `'`, `'a`, `a`, `'a'b'`, `'\'`, `'\q'`, `'\x4'`, `'\ud800'`,
		`f''`, `'a' 'b'`} {
		if got, err := pythonString(literal); err == nil {
			t.Errorf("pythonString of %s: got %q, want an error", literal, got)
		}
	}
}

// capture is a connection plugin that keeps what is piped into interpreters.
const capture = `
DOCUMENTATION = '''
name: capture
short_description: keeps what is piped into interpreters
description: For a test.
options:
  pipelining: {description: always, default: true, type: bool, vars: [{name: capture_pipelining}]}
  capture_name: {description: of the file, default: plain, type: str, vars: [{name: capture_name}]}
'''
import os
from ansible.plugins.connection.local import Connection as Local
class Connection(Local):
    has_pipelining = True
    def exec_command(self, cmd, in_data=None, sudoable=True):
        if in_data:
            name = self.get_option('capture_name')
            with open(os.path.join(os.environ['CAPTURE'], name), 'wb') as f:
                f.write(in_data)
        return super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
`

// programs are the ansible-playbook of several releases: $MITOGEN_ANSIBLE has them, else the
// installed one is the only one.
func programs(t *testing.T) []string {
	t.Helper()
	if list := strings.Fields(os.Getenv("MITOGEN_ANSIBLE")); len(list) > 0 {
		return list
	}
	playbook, err := exec.LookPath("ansible-playbook")
	if err != nil {
		t.Skip("there is no ansible-playbook")
	}
	return []string{playbook}
}

// wrappers returns a wrapper that a release makes, and one with a limit of open files.
func wrappers(t *testing.T, playbook string) (plain, limited []byte) {
	t.Helper()
	dir := t.TempDir()
	const ping = `ping: {data: "it's \"ü\""}`
	for name, text := range map[string]string{"plugins/capture.py": capture,
		"p.yml": "[{hosts: all, gather_facts: false, tasks: [{" + ping + "}, {" + ping +
			", vars: {capture_name: limited, ansible_python_module_rlimit_nofile: 1024}}]}]",
		"ansible.cfg": ""} {
		os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(playbook, "-i", "h,", "-c", "capture", "p.yml", "-e",
		"ansible_python_interpreter=/usr/bin/python3")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CAPTURE="+dir, "ANSIBLE_CONNECTION_PLUGINS="+dir+"/plugins",
		"ANSIBLE_HOME="+dir+"/home", "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("run ansible to capture a wrapper: %v; output: %s", err, out)
	}
	if plain, err = os.ReadFile(filepath.Join(dir, "plain")); err != nil {
		t.Fatal(err)
	}
	if limited, err = os.ReadFile(filepath.Join(dir, "limited")); err != nil {
		t.Fatal(err)
	}
	return plain, limited
}

// What releases pipe is known; what is changed in any place isn't.
func TestWrapper(t *testing.T) {
	for _, playbook := range programs(t) {
		t.Run(playbook, func(t *testing.T) { testWrapper(t, playbook) })
	}
}

func testWrapper(t *testing.T, playbook string) {
	b, limited := wrappers(t, playbook)
	if p, err := parseWrapper(limited); err != nil || p.noFile != 1024 {
		t.Errorf("with a limit of open files: %v", err)
	}
	p, err := parseWrapper(b)
	if err != nil {
		t.Fatal(err)
	}
	if p.module != "ansible.modules.ping" || !strings.Contains(string(p.params), `"data": "it's \"`) {
		t.Fatalf("parse a wrapper: got module %s, arguments %s; want ping and its data",
			p.module, p.params)
	}
	s := newStore()
	a, err := s.open(p.zip)
	if err != nil || len(a.files) < 10 {
		t.Fatal(a, err)
	}
	packs, err := s.pack([]sum{a.files[0].sum, a.files[1].sum})
	if err != nil || len(packs) != 1 || len(packs[0].sums) != 2 {
		t.Error(packs, err)
	}
	var all []sum
	for _, m := range a.files {
		all = append(all, m.sum)
	}
	packs, err = s.pack(append(all, all...)) // more than fits one
	n := 0
	for _, p := range packs {
		n += len(p.sums)
		if len(p.data) > maxPack {
			t.Error(len(p.data))
		}
	}
	if err != nil || n != 2*len(all) || len(packs) < 2 {
		t.Error(len(packs), n, err)
	}

	for range 2 { // the second time it is remembered
		q, other, err := s.parse(b)
		if err != nil || q.module != p.module || !bytes.Equal(q.params, p.params) || other != a ||
			q.loader != p.loader || q.profile != p.profile {
			t.Errorf("parse again: got %+v, %v; want what was remembered", q, err)
		}
	}
	if _, _, err := s.parse(bytes.Replace(b, []byte("import shutil"), []byte("import shutil "),
		1)); !errors.Is(err, errUnknown) {
		t.Error(err)
	}

	text := string(b)
	lines := regexp.MustCompile(`(?m)^\s+(?:import|from|return|if|z = |sys\.).*$`)
	code := lines.FindAllStringIndex(text, -1)
	if len(code) < 5 {
		t.Fatal("no code in it")
	}
	for _, at := range code {
		changed := text[:at[1]] + " # changed" + text[at[1]:]
		if _, err := parseWrapper([]byte(changed)); !errors.Is(err, errUnknown) {
			t.Errorf("after %q: %v", text[at[0]:at[1]], err)
		}
	}
	for _, changed := range []string{"", text + "\nprint(1)\n", text[:len(text)/2],
		strings.Replace(text, "ansible.modules.ping", "os.path", 1) + "#",
		strings.Replace(text, "_ANSIBALLZ_WRAPPER = True", "_ANSIBALLZ_WRAPPER = 1", 1)} {
		if _, err := parseWrapper([]byte(changed)); !errors.Is(err, errUnknown) {
			t.Errorf("parse %.100q: got error %v, want errUnknown", changed, err)
		}
	}
}

// newWrapper is a wrapper as releases from 2.19 on make them, with further lines where marked.
func newWrapper(declared, passed, code, given string) []byte {
	return []byte("def _ansiballz_main(\n    zip_data: str,\n" + declared +
		"    rlimit_nofile: int,\n) -> None:\n" + code +
		"        _loader.run_module(\n            json_params=json_params,\n" + passed + "        )\n" +
		string(newTail) +
		"zip_data='eA==',\nansible_module='x',\nmodule_fqn='ansible.modules.x',\nparams='{}',\n" +
		"profile='legacy',\n" + given + ")\n")
}

// An argument that a release passes on to its loader, and does nothing else with, makes no
// difference.
func TestPassedOn(t *testing.T) {
	plain := newWrapper("", "", "", "")
	code, _, _ := bytes.Cut(plain, newTail)
	h := sha256.Sum256(code)
	knownCode[hex.EncodeToString(h[:8])] = "test"
	defer delete(knownCode, hex.EncodeToString(h[:8]))
	for name, test := range map[string]struct {
		declared, passed, code, given string
		known                         bool
	}{
		"none": {known: true},
		"one": {"    secrets: frozenset[str],\n", "            secrets=secrets,\n", "",
			"secrets=frozenset({'a'}),\n", true},
		"two": {"    a: int,\n    b: str,\n", "            a=a,\n            b=b,\n", "",
			"a=1,\nb='x',\n", true},
		"used": {"    secrets: frozenset[str],\n", "            secrets=secrets,\n",
			"    print(secrets)\n", "secrets=frozenset(),\n", false},
		"changed": {"    secrets: frozenset[str],\n", "            secrets=set(secrets),\n", "",
			"secrets=frozenset(),\n", false},
		"not passed on": {"    secrets: frozenset[str],\n", "", "", "secrets=frozenset(),\n", false},
		"not declared":  {"", "            secrets=secrets,\n", "", "secrets=frozenset(),\n", false},
		"not given": {"    secrets: frozenset[str],\n", "            secrets=secrets,\n", "", "",
			false},
		"no name":         {"", "", "", "1x=2,\n", false},
		"with other code": {"", "", "    pass\n", "", false},
		"under other name": {"    secrets: frozenset[str],\n", "            others=secrets,\n", "",
			"secrets=frozenset(),\n", false},
	} {
		p, err := parseWrapper(newWrapper(test.declared, test.passed, test.code, test.given))
		if (err == nil) != test.known || err != nil && !errors.Is(err, errUnknown) {
			t.Errorf("%s: got error %v, want known %t", name, err, test.known)
		}
		if name == "one" && err == nil && (p.passed["secrets"] != "frozenset({'a'})" || !p.secretive()) {
			t.Errorf("%s: got %q, %t, want the secret", name, p.passed, p.secretive())
		}
	}
}

// What a release gives to its loader can be passed on if it means the same elsewhere.
func TestPassedOnLiterals(t *testing.T) {
	plain, _, _ := bytes.Cut(newWrapper("", "", "", ""), newTail)
	h := sha256.Sum256(plain)
	knownCode[hex.EncodeToString(h[:8])] = "test"
	defer delete(knownCode, hex.EncodeToString(h[:8]))
	for value, want := range map[string]bool{
		"None": true, "-1": true, "0": true, "1.5e-07": true, "''": true, `b'\x00"'`: true,
		`"it's"`:             true,
		`'\\\'\U0010ffff\n'`: true, "frozenset()": true, "()": true, "(1,)": true, "[[], {}]": true,
		"{'a': 1, b'b': (None, [True])}": true, "frozenset({'a', 'b'})": true, "{1, 2}": true,
		"'é)'":         true,
		"_decode('x')": false, "frozenset(_SECRETS)": false, "set()": false, "nan": false, "[inf]": false,
		"datetime.date(2026, 1, 1)": false, "<object at 0x7f>": false, "'a' + b": false,
		"''.join(x)": false,
		"(":          false, "[1 2]": false, "[,]": false, "'a": false, `'\N{DASH}'`: false,
		"{'a': }": false,
		"None.x":  false, "": false, "*x": false, "f'{x}'": false, "(1)(2)": false,
		"[x for x in y]": false,
		strings.Repeat("[", 60) + strings.Repeat("]", 60): false, strings.Repeat("(", 1<<20): false,
	} {
		given := "extra=" + value + ",\n"
		b := newWrapper("    extra: object,\n", "            extra=extra,\n", "", given)
		p, err := parseWrapper(b)
		if want && (err != nil || p.passed["extra"] != value) {
			t.Errorf("%.60s: got %v, want it to be passed on", value, err)
		}
		if !want && !errors.Is(err, errRelease) {
			t.Errorf("%.60s: got %v, want errRelease", value, err)
		}
	}
}

func zipped(t *testing.T, names ...string) []byte {
	t.Helper()
	files := map[string]string{}
	for _, name := range names {
		files[name] = "x = 1\n"
	}
	return zippedFiles(t, files)
}

func zippedFiles(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range files {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(text))
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return []byte(base64.StdEncoding.EncodeToString(b.Bytes()))
}

func TestArchive(t *testing.T) {
	s := newStore()
	a, err := s.open(zipped(t, "ansible/__init__.py", "ansible/modules/", "ansible/modules/x.py"))
	if err != nil || len(a.files) != 2 || a.files[0].sum != a.files[1].sum || len(s.contents) != 1 {
		t.Error(a, err)
	}
	for _, bad := range [][]byte{[]byte("!"), []byte("AAAA"), zipped(t, "a.so"), zipped(t, "/a.py"),
		zipped(t, "../a.py"), zipped(t, "a/../b.py"), zipped(t, "data.json")} {
		if _, err := s.open(bad); !errors.Is(err, errUnknown) {
			t.Errorf("open %.40q: got error %v, want errUnknown", bad, err)
		}
	}
}

func TestUnpack(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		got, callback, err := Unpack(dir, `/opt/it's/mitogen`)
		if err != nil {
			t.Fatal(err)
		}
		for _, place := range []string{got, callback} {
			files, err := os.ReadDir(place)
			if err != nil || len(files) != 1 || files[0].Name() != "mitogen.py" {
				t.Fatal(files, err)
			}
		}
		b, err := os.ReadFile(filepath.Join(got, "mitogen.py"))
		if err != nil || !strings.Contains(string(b), `EXECUTABLE = '/opt/it\'s/mitogen' `) {
			t.Error(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Unpack(filepath.Join(dir, "file"), "x"); err == nil {
		t.Error("a directory in a file")
	}
}
