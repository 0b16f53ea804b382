package pylink

import (
	"strings"
	"testing"
)

// Imports for readers are dropped, on the same lines; those of other modules stay.
func TestImportsForReaders(t *testing.T) {
	link := func(core, shared, first, second string) (*Linked, error) {
		sources := map[string]string{"core.py": core, "shared.py": shared, "first.py": first,
			"second.py": second, "both.py": "from _mitogen import TABLE\nx = TABLE\n"}
		return Link([]Module{{"_mitogen", []string{"core.py"}, true},
			{"_mitogen_shared", []string{"both.py", "shared.py"}, true},
			{"own", []string{"both.py", "first.py", "second.py"}, false}}, Rules{},
			func(name string) ([]byte, error) { return []byte(sources[name]), nil })
	}
	const core = "import os\nTABLE = {}\n"
	l, err := link(core, "from _mitogen import (TABLE,\n    os)\nTABLE[os] = 1\n",
		"from second import g\nfrom os import path\ndef f(): g(path)\n",
		"from first import f\ndef g(x): f()\n")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"_mitogen_shared": "", "own": "from os import path"} {
		var left []string
		for _, line := range strings.Split(string(l.Texts[name]), "\n") {
			if strings.Contains(line, "import") {
				left = append(left, line)
			}
		}
		if got := strings.Join(left, "; "); got != want {
			t.Errorf("%s: got imports %q, want %q, in\n%s", name, got, want, l.Texts[name])
		}
	}
	if got := l.Names.Parts["_mitogen_shared"][1].Lines; len(got) != 1 || got[0] != 3 {
		t.Errorf("got lines %v, want 3", got)
	}

	for _, tt := range []struct{ shared, first, second, want string }{
		{"from _mitogen import MISSING\nMISSING\n", "", "",
			"shared.py: imports MISSING, which _mitogen doesn't have"},
		{"from _mitogen import os, TABLE\nos\n", "", "",
			"shared.py: imports TABLE, and doesn't use it"},
		{"from _mitogen import TABLE\nz = y.TABLE\nf(TABLE=1)\n", "", "",
			"shared.py: imports TABLE, and doesn't use it"},
		{"", "from second import g\ng()\n", "def h(): pass\n",
			"first.py: imports g, which second.py doesn't have"},
		{"from first import f\nf()\n", "def f(): pass\n", "",
			"shared.py: imports from first.py, which is no part of _mitogen_shared"},
		{"", "def f(): pass\n", "from first import f\n", "second.py: imports f, and doesn't use it"},
	} {
		_, err := link(core, tt.shared, tt.first, tt.second)
		if err == nil || err.Error() != tt.want {
			t.Errorf("%q, %q, %q: got %v, want %s", tt.shared, tt.first, tt.second, err, tt.want)
		}
	}
}
