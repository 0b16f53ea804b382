// Package testpython finds the Python interpreters on this machine, for tests that run on all of them.
package testpython

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Interp is an interpreter that works.
type Interp struct {
	Path         string // executable, links resolved
	Version      string // "3.13.0"
	Major, Minor int
	Impl         string // "cpython", "pypy"
}

// Name is short and fit for the name of a subtest: "cpython3.13".
func (i Interp) Name() string {
	return i.Impl + strconv.Itoa(i.Major) + "." + strconv.Itoa(i.Minor)
}

// AtLeast reports whether i's language version is major.minor or later.
func (i Interp) AtLeast(major, minor int) bool {
	return i.Major > major || i.Major == major && i.Minor >= minor
}

// Find returns the interpreters on PATH and among those of pyenv, one for each implementation and minor version, oldest
// first. It looks once per process.
func Find() []Interp { return slices.Clone(find()) }

var find = sync.OnceValue(func() []Interp {
	paths := candidates()
	found := make([]*Interp, len(paths))
	slots := make(chan struct{}, 2)
	var wg sync.WaitGroup
	for i, path := range paths {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			found[i] = ask(path)
		})
	}
	wg.Wait()
	return choose(found)
})

// choose drops what doesn't work and duplicates, of which the first stays.
func choose(found []*Interp) []Interp {
	var chosen []Interp
	for _, i := range found {
		if i != nil && !slices.ContainsFunc(chosen, func(c Interp) bool { return c.Name() == i.Name() }) {
			chosen = append(chosen, *i)
		}
	}
	slices.SortStableFunc(chosen, func(a, b Interp) int {
		if a.Major != b.Major {
			return a.Major - b.Major
		}
		return a.Minor - b.Minor
	})
	return chosen
}

// candidates returns executables, pyenv's own before what stands on PATH: its shims would start a shell each time.
func candidates() []string {
	var paths []string
	if home, err := os.UserHomeDir(); err == nil {
		got, _ := filepath.Glob(filepath.Join(home, ".pyenv", "versions", "*", "bin", "python"))
		paths = append(paths, got...)
	}
	names := []string{"python3", "python2.7", "python2", "python", "pypy3", "pypy"}
	for minor := 6; minor <= 15; minor++ {
		names = append(names, "python3."+strconv.Itoa(minor))
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			paths = append(paths, path)
		}
	}
	return paths
}

const question = `import sys, platform
print('|'.join([sys.executable, '%d.%d.%d' % sys.version_info[:3], platform.python_implementation().lower()]))`

// ask runs an interpreter and returns nil if it doesn't say what it is.
func ask(path string) *Interp {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "-c", question).Output()
	fields := strings.Split(strings.TrimSpace(string(out)), "|")
	if err != nil || len(fields) != 3 {
		return nil
	}
	i := &Interp{Path: fields[0], Version: fields[1], Impl: fields[2]}
	if real, err := filepath.EvalSymlinks(i.Path); err == nil {
		i.Path = real
	}
	parts := strings.Split(i.Version, ".")
	i.Major, _ = strconv.Atoi(parts[0])
	i.Minor, _ = strconv.Atoi(parts[1])
	return i
}
