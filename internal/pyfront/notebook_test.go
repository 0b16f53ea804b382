package pyfront

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestNotebook runs the cells of testdata/notebook.py in a Jupyter kernel.
func TestNotebook(t *testing.T) {
	dir := tools(t, "jupyter")
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	args := []string{"notebook.py"}
	if exec.Command("sudo", "-n", "true").Run() == nil {
		args = append(args, "sudo")
	}
	out, err := python(t, filepath.Join(dir, "python"), "", args...)
	if err != nil || !strings.HasSuffix(string(out), "all cells\n") {
		t.Errorf("run cells: got %v, want all to print what they say\n%s", err, out)
	}
}
