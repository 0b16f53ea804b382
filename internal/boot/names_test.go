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
	for _, file := range []string{"core.py", "ansible.py", "asking.py", "forward.py", "paths.py", "spawn.py", "tunnel.py"} {
		text, err := os.ReadFile("../../python/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range global.FindAllSubmatch(text, -1) {
			name := string(m[1])
			if other := whose[name]; other != "" && other != file && !map[string]bool{"if": true, "for": true, "try": true, "else": true, "except": true, "exec": true, "cut_off": true}[name] {
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
