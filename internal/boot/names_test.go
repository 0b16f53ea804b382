package boot

import (
	"os"
	"regexp"
	"testing"
)

// What runs in the namespace of core.py must not take each other's names, but for cut_off, which is for being taken.
func TestNamesDontClash(t *testing.T) {
	global := regexp.MustCompile(`(?m)^(?:def |class )?([A-Za-z_]\w*)(?: = |\(|:)`)
	whose := map[string]string{}
	for _, file := range []string{
		"core.py", "ansible.py", "asking.py", "forward.py", "guard.py", "paths.py", "process.py", "replace.py",
		"spawn.py", "tunnel.py",
	} {
		text, err := os.ReadFile("../../python/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range global.FindAllSubmatch(text, -1) {
			name := string(m[1])
			if other := whose[name]; other != "" && other != file && !map[string]bool{"if": true, "for": true, "try": true, "else": true, "except": true, "exec": true, "atomic": true, "cut_off": true}[name] {
				t.Errorf("%s is a name in %s and in %s", name, other, file)
			}
			whose[name] = file
		}
		for _, m := range regexp.MustCompile(`(?m)^\((\w+(?:, \w+)*)\) = `).FindAllSubmatch(text, -1) {
			for _, name := range regexp.MustCompile(`\w+`).FindAllString(string(m[1]), -1) {
				if other := whose[name]; other != "" && other != file {
					t.Errorf("%s is a name in %s and in %s", name, other, file)
				}
				whose[name] = file
			}
		}
	}
	if len(whose) < 150 {
		t.Errorf("%d names found", len(whose))
	}
}

// No class uses one name for a method and for a value.
func TestMethodsDontClash(t *testing.T) {
	class := regexp.MustCompile(`(?m)^class .*\n(?:(?: .*)?\n)*`)
	method := regexp.MustCompile(`(?m)^    def (\w+)\(`)
	value := regexp.MustCompile(`(?m)(?:^    |\bself\.)(\w+) = `)
	seen := 0
	for _, file := range []string{"core.py", "forward.py", "spawn.py", "tunnel.py", "ansible.py", "run.py", "files.py"} {
		text, err := os.ReadFile("../../python/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, body := range class.FindAllString(string(text), -1) {
			methods := map[string]bool{}
			for _, m := range method.FindAllStringSubmatch(body, -1) {
				methods[m[1]] = true
				seen++
			}
			for _, m := range value.FindAllStringSubmatch(body, -1) {
				if methods[m[1]] {
					t.Errorf("%s: %s is a method and a value in %.20q", file, m[1], body)
				}
			}
		}
	}
	if seen < 100 {
		t.Errorf("got %d methods, want all", seen)
	}
}
