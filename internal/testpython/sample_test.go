package testpython

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

func TestSample(t *testing.T) {
	t.Setenv("MITOGEN_SOAK", "")
	t.Setenv("MITOGEN_TEST_PYTHONS", "")
	var found []Interp
	for minor := range 10 {
		found = append(found, Interp{Major: 3, Minor: minor, Impl: "cpython"})
	}
	drawn, ends := map[int]bool{}, map[bool]bool{}
	for i := range 200 {
		name := fmt.Sprint("Test", i)
		got := sample(found, name)
		if len(got) != 2 || got[0] != found[0] && got[1] != found[9] || !got[0].before(got[1]) {
			t.Fatalf("%s: got %v, want two, the oldest or the newest among them", name, got)
		}
		if again := sample(found, name); !slices.Equal(again, got) {
			t.Fatalf("%s: got %v and %v, want the same", name, got, again)
		}
		drawn[got[0].Minor], drawn[got[1].Minor] = true, true
		ends[got[0] == found[0]] = true
	}
	if len(drawn) != 10 || len(ends) != 2 {
		t.Errorf("200 tests: got %v drawn, want each of the 10, and samples without the oldest", drawn)
	}
	first := sample(found, "Test")
	other := false
	for seed := range 50 {
		t.Setenv("MITOGEN_SEED", fmt.Sprint(seed))
		other = other || !slices.Equal(sample(found, "Test"), first)
	}
	if !other {
		t.Error("50 seeds: got the same interpreters")
	}
	for _, variable := range []string{"MITOGEN_SOAK", "MITOGEN_TEST_PYTHONS"} {
		t.Run(variable, func(t *testing.T) {
			t.Setenv(variable, "1")
			if got := sample(found, "Test"); len(got) != 10 {
				t.Errorf("got %d, want all 10", len(got))
			}
		})
	}
	for n := range 3 {
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
