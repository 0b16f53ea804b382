package testpython

import (
	"os/exec"
	"strings"
	"testing"
)

func TestFindSaysTheTruth(t *testing.T) {
	for _, i := range Find() {
		out, err := exec.Command(i.Path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").Output()
		if err != nil {
			t.Errorf("%s: %v", i.Path, err)
			continue
		}
		if got := strings.TrimSpace(string(out)); !strings.HasSuffix(i.Name(), got) {
			t.Errorf("%s is %s, not %s", i.Path, got, i.Name())
		}
	}
}

func TestChooseKeepsTheFirstOfAVersionOldestFirst(t *testing.T) {
	got := choose([]*Interp{
		{Path: "a", Major: 3, Minor: 13, Impl: "cpython"},
		nil,
		{Path: "b", Major: 3, Minor: 13, Impl: "cpython"},
		{Path: "c", Major: 2, Minor: 7, Impl: "cpython"},
		{Path: "d", Major: 3, Minor: 9, Impl: "pypy"},
	})
	var paths []string
	for _, i := range got {
		paths = append(paths, i.Path)
	}
	if strings.Join(paths, "") != "cda" {
		t.Errorf("chose %v", paths)
	}
	if !got[1].AtLeast(3, 9) || got[1].AtLeast(3, 10) || !got[1].AtLeast(2, 7) {
		t.Error("AtLeast compares wrongly")
	}
}
