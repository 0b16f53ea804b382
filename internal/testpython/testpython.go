// Package testpython finds the Python interpreters on this machine, for tests that run on all of
// them.
package testpython

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	_ "github.com/mitogen-go/mitogen/internal/testenv"
)

// Interp is an interpreter that works.
type Interp struct {
	Path         string // executable, links resolved
	Version      string // "3.13.0"
	Major, Minor int
	Impl         string // "cpython", "pypy"
	Machine      string // "x86_64"; the interpreter's, if it is emulated
}

// Name is short and fit for the name of a subtest: "cpython3.13", or "cpython3.13-s390x" if its
// machine isn't this one.
func (i Interp) Name() string {
	name := i.Impl + strconv.Itoa(i.Major) + "." + strconv.Itoa(i.Minor)
	if i.Machine != machine() {
		name += "-" + i.Machine
	}
	return name
}

// machine returns the name of this machine's architecture, as uname has it.
var machine = sync.OnceValue(func() string {
	out, _ := exec.Command("uname", "-m").Output()
	return strings.TrimSpace(string(out))
})

// AtLeast reports whether i's language version is major.minor or later.
func (i Interp) AtLeast(major, minor int) bool {
	return i.Major > major || i.Major == major && i.Minor >= minor
}

// Variable names the environment variable with further interpreters: paths, separated as in PATH.
const Variable = "MITOGEN_TEST_PYTHONS"

// Find returns the interpreters that Variable names, and without $MITOGEN_ONLY_NAMED the
// interpreters on PATH and in pyenv. There is one for each implementation, minor version and
// machine, oldest first. It looks once per process. If Variable names an interpreter that doesn't
// work, Find panics: a test must not pass without it.
func Find() []Interp { return slices.Clone(find()) }

var find = sync.OnceValue(look)

func look() []Interp {
	paths := candidates()
	found := make([]*Interp, len(paths))
	slots := make(chan struct{}, 2)
	var wg sync.WaitGroup
	for i, path := range paths {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			found[i] = ask(path)
			if i < len(named()) && found[i] != nil {
				found[i].Path = path // it may be a script that emulates another machine
			}
		})
	}
	wg.Wait()
	for i, path := range named() {
		if found[i] == nil {
			panic(fmt.Sprintf("$%s: %s is no Python interpreter that works", Variable, path))
		}
	}
	return choose(found)
}

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

// named returns the interpreters that the environment names.
func named() []string { return filepath.SplitList(os.Getenv(Variable)) }

// candidates returns executables: first those that are named, then pyenv's own before what stands
// on PATH, as its shims would start a shell each time.
func candidates() []string {
	paths := named()
	if os.Getenv("MITOGEN_ONLY_NAMED") != "" {
		return paths
	}
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

// question is asked in words that every Python from 2.4 on understands.
const question = `import sys, platform
name = getattr(platform, 'python_implementation', lambda: 'CPython')
print('|'.join([sys.executable, '%d.%d.%d' % sys.version_info[:3], name().lower(),
                platform.machine()]))`

// ask runs an interpreter and returns nil if it doesn't say what it is.
func ask(path string) *Interp {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute) // it may be emulated
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "-c", question).Output()
	fields := strings.Split(strings.TrimSpace(string(out)), "|")
	if err != nil || len(fields) != 4 {
		return nil
	}
	i := &Interp{Path: fields[0], Version: fields[1], Impl: fields[2], Machine: fields[3]}
	if real, err := filepath.EvalSymlinks(i.Path); err == nil {
		i.Path = real
	}
	parts := strings.Split(i.Version, ".")
	i.Major, _ = strconv.Atoi(parts[0])
	i.Minor, _ = strconv.Atoi(parts[1])
	return i
}
