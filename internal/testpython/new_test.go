package testpython

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// scripts/test-new.sh fails if it has tested nothing.
func TestNewTestsSomething(t *testing.T) {
	script, err := os.ReadFile("../../scripts/test-new.sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, trees, goTest string // bash
		ok                  bool
		says                string
	}{
		{"nothing to be had", "true", "echo ok a", false, "nothing was tested"},
		{"a tree", `[[ $1 != new ]] || echo "$HOME"`, "echo ok a", true, ""},
		{"emulated alone", `[[ $1 = new ]] || echo python`, "echo ok a", true, ""},
		{"no test of that name", `[[ $1 != new ]] || echo "$HOME"`,
			"echo 'ok a [no tests to run]'; echo '? b [no test files]'", false, "nothing was tested"},
		{"one of that name", `[[ $1 != new ]] || echo "$HOME"`,
			"echo 'ok a [no tests to run]'; echo ok b", true, ""},
		{"a failure", `[[ $1 != new ]] || echo "$HOME"`, "echo FAIL a; exit 1", false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range map[string]string{
				"scripts/test-new.sh": string(script), "scripts/new-trees.sh": "#!/bin/bash\n" + tt.trees,
				"bin/go": "#!/bin/bash\n" + tt.goTest, "bin/chroot": "#!/bin/bash\n",
				"bin/qemu-s390x-static": "#!/bin/bash\n", // nothing is to be installed
			} {
				file := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command("bash", filepath.Join(dir, "scripts/test-new.sh"))
			cmd.Env = append(os.Environ(), "PATH="+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"),
				"HOME="+dir)
			out, err := cmd.CombinedOutput()
			if (err == nil) != tt.ok || !strings.Contains(string(out), tt.says) {
				t.Errorf("got %v, %q, want success %v, and %q", err, out, tt.ok, tt.says)
			}
		})
	}
}
