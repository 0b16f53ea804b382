package ansible_test

import (
	"iter"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/testpython"
)

// playbooks returns the programs of the long tests: the first of releases, and all of them in
// `make test-ansible`.
func playbooks(t *testing.T) []string {
	t.Helper()
	all := releases(t)
	if !everything() {
		return all[:1]
	}
	return all
}

// turn returns one of releases for a test, with its place among them, and all in `make
// test-ansible`. The release changes each day; tests whose numbers follow each other have different
// releases on the same day, so that each day has them all.
func turn(t *testing.T, number int) iter.Seq2[int, string] {
	t.Helper()
	all := releases(t)
	if everything() {
		return slices.All(all)
	}
	n := int((testpython.Seed() + uint64(number)) % uint64(len(all)))
	t.Logf("release %d of %d, by MITOGEN_SEED=%d", n+1, len(all), testpython.Seed())
	return func(yield func(int, string) bool) { yield(n, all[n]) }
}

// allModules tells whether a test compares all modules, as the login or as root: which of them is
// drawn, so that one does it, and both in `make test-ansible`.
func allModules(asRoot bool) bool {
	return everything() || asRoot == (testpython.Draw("basic.yml").IntN(3) == 0)
}

// everything tells that nothing is sampled: `make test-ansible` or `make soak` runs the tests.
func everything() bool { return os.Getenv("MITOGEN_ANSIBLE_ALL") != "" || testpython.All() }

// releases returns the ansible-playbook of several releases, the oldest first. $MITOGEN_ANSIBLE has
// them, as `make test` sets it; else the installed one is the only one. CI must have one.
func releases(t *testing.T) []string {
	t.Helper()
	if list := os.Getenv("MITOGEN_ANSIBLE"); list != "" {
		return strings.Fields(list)
	}
	path, err := exec.LookPath("ansible-playbook")
	switch {
	case err != nil && os.Getenv("CI") == "true":
		t.Fatal("find ansible-playbook: got none, want the one that make setup installs")
	case err != nil:
		t.Skip("ansible-playbook is not installed")
	}
	return []string{path}
}

// release returns the version of an Ansible program, as "2.14".
func release(t *testing.T, playbook string) string {
	t.Helper()
	out, err := exec.Command(playbook, "--version").Output()
	m := regexp.MustCompile(`core (\d+\.\d+)`).FindSubmatch(out)
	if err != nil || m == nil {
		t.Fatalf("release of %s: got error %v, output %s; want a version", playbook, err, out)
	}
	return string(m[1])
}
