package testpython

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestSample(t *testing.T) {
	t.Setenv("MITOGEN_SOAK", "")
	t.Setenv("MITOGEN_TEST_PYTHONS", "")
	var found []Interp
	for minor := range 10 {
		found = append(found, Interp{Major: 3, Minor: minor, Impl: "cpython"})
	}
	drawn := map[int]bool{}
	for i := range 200 {
		name := fmt.Sprint("Test", i)
		got := sample(found, name)
		if len(got) != 3 || got[0] != found[0] || got[2] != found[9] || !got[0].before(got[1]) ||
			!got[1].before(got[2]) {
			t.Fatalf("%s: got %v, want the oldest, one between and the newest", name, got)
		}
		if again := sample(found, name); again[1] != got[1] {
			t.Fatalf("%s: got %v and %v, want the same", name, got[1], again[1])
		}
		drawn[got[1].Minor] = true
	}
	if len(drawn) != 8 {
		t.Errorf("200 tests: got %v drawn, want each of the 8 between", drawn)
	}
	first := sample(found, "Test")[1]
	other := false
	for seed := range 50 {
		t.Setenv("MITOGEN_SEED", fmt.Sprint(seed))
		other = other || sample(found, "Test")[1] != first
	}
	if !other {
		t.Error("50 seeds: got the same interpreter")
	}
	for _, variable := range []string{"MITOGEN_SOAK", "MITOGEN_TEST_PYTHONS"} {
		t.Run(variable, func(t *testing.T) {
			t.Setenv(variable, "1")
			if got := sample(found, "Test"); len(got) != 10 {
				t.Errorf("got %d, want all 10", len(got))
			}
		})
	}
	for n := range 4 {
		if got := sample(found[:n], "Test"); len(got) != n {
			t.Errorf("of %d: got %d", n, len(got))
		}
	}
}

func (i Interp) before(j Interp) bool { return i.Minor < j.Minor }

// A blind command doesn't see what is in directories, and other files as they are.
func TestBlind(t *testing.T) {
	dirs := []string{t.TempDir(), t.TempDir()}
	for _, d := range append(dirs, t.TempDir()) {
		if err := os.WriteFile(filepath.Join(d, "file"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	words := Blind(t, dirs...)
	if words == "env " {
		t.Skip("it takes root")
	}
	out, err := exec.Command("sh", "-c",
		words+`sh -c 'pwd; ls "$@"' sh `+dirs[0]+" "+dirs[1]+" /etc/passwd").CombinedOutput()
	if want := "/\n/etc/passwd\n\n" + dirs[0] + ":\n\n" + dirs[1] + ":\n"; err != nil ||
		string(out) != want {
		t.Errorf("got %v, %q, want %q", err, out, want)
	}
}
