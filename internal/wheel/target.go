package wheel

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Target holds the facts about an interpreter that decide about wheels, as the interpreter states
// them.
type Target struct {
	Platform       string   // sys.platform: "linux", "linux2"
	Implementation string   // "cpython", "pypy"
	Version        [2]int   // of the language
	Wide           bool     // of CPython 2: characters have 32 bits
	Machine        string   // of the kernel: "x86_64"
	Bits           int      // of a pointer
	Libc           string   // "glibc", "musl", "-"
	LibcVersion    [2]int   //
	Suffixes       []string // of files that are extension modules, the winning one first
}

// Bounds of what an interpreter says.
const (
	maxWords    = 512 // bytes
	maxSuffixes = 8
)

// Parse reads the words of an interpreter, in the order of Target's fields; suffixes have commas
// between.
func Parse(words string) (t Target, err error) {
	f := strings.Fields(words)
	if len(words) > maxWords || len(f) != 9 {
		return t, fmt.Errorf("parse tags: got %d words in %d bytes, want 9 in at most %d", len(f),
			len(words),
			maxWords)
	}
	t = Target{Platform: f[0], Implementation: f[1], Wide: f[3] == "wide", Machine: f[4], Libc: f[6],
		Suffixes: strings.Split(f[8], ",")}
	var ok [3]bool
	t.Version, ok[0] = numbers(f[2])
	t.Bits, err = strconv.Atoi(f[5])
	ok[1] = err == nil
	t.LibcVersion, ok[2] = numbers(f[7])
	if f[7] == "-" {
		ok[2] = true
	}
	if ok != [3]bool{true, true, true} || len(t.Suffixes) > maxSuffixes {
		return Target{}, fmt.Errorf("parse tags: got %.100q", words)
	}
	return t, nil
}

// numbers reads the first two of a version's.
func numbers(s string) (v [2]int, ok bool) {
	parts := strings.SplitN(s, ".", 3)
	if len(parts) < 2 {
		return v, false
	}
	for i := range v {
		n, err := strconv.ParseUint(parts[i], 10, 15)
		if err != nil {
			return v, false
		}
		v[i] = int(n)
	}
	return v, true
}

// String names t for people.
func (t Target) String() string {
	name := map[string]string{"cpython": "CPython", "pypy": "PyPy"}[t.Implementation]
	if name == "" {
		name = t.Implementation
	}
	s := fmt.Sprintf("%s %d.%d", name, t.Version[0], t.Version[1])
	if strings.HasSuffix(t.abi(), "t") {
		s += "t"
	}
	s += ", " + t.arch()
	if t.Libc != "-" {
		s += fmt.Sprintf(", %s %d.%d", t.Libc, t.LibcVersion[0], t.LibcVersion[1])
	}
	return s
}

// Refuses returns why no extension module can go to t at all; "": some can.
func (t Target) Refuses() string {
	switch {
	case !strings.HasPrefix(t.Platform, "linux"):
		return "the target is " + t.Platform + ": only Linux loads extension modules from memory"
	case t.Version != [2]int{2, 7} && slices.Compare(t.Version[:], []int{3, 5}) < 0:
		return fmt.Sprintf("the target is Python %d.%d: extension modules go to 2.7, and 3.5 and later",
			t.Version[0], t.Version[1])
	case t.Implementation != "cpython" && t.Implementation != "pypy":
		return "the target's Python is " + t.Implementation + ", which loads none"
	}
	return ""
}

// Fits reports whether t takes a wheel with one of tags, as pip would.
func (t Target) Fits(tags []Tag) bool {
	return slices.ContainsFunc(tags,
		func(tag Tag) bool { return t.takes(tag) && t.runs(tag.Platform) })
}

// Otherwise reports whether another version of the same interpreter takes a wheel with one of tags
// where t runs.
func (t Target) Otherwise(tags []Tag) bool {
	prefix := map[string]string{"cpython": "cp", "pypy": "pp"}[t.Implementation]
	return prefix != "" && slices.ContainsFunc(tags, func(tag Tag) bool {
		version, ok := tag.version()
		return ok && version != t.Version && strings.HasPrefix(tag.Python, prefix) &&
			t.runs(tag.Platform)
	})
}

// abi is the ABI's tag.
func (t Target) abi() string {
	if t.Implementation == "cpython" && t.Version[0] == 2 {
		if t.Wide {
			return "cp27mu"
		}
		return "cp27m"
	}
	for _, s := range t.Suffixes {
		parts := strings.Split(strings.TrimPrefix(s, "."), "-")
		switch {
		case len(parts) >= 2 && parts[0] == "cpython":
			return "cp" + strings.TrimSuffix(parts[1], ".so")
		case len(parts) >= 2 && strings.HasPrefix(parts[0], "pypy"):
			return parts[0] + "_" + strings.TrimSuffix(parts[1], ".so")
		}
	}
	return ""
}

// takes reports whether t has a tag's interpreter and ABI.
func (t Target) takes(tag Tag) bool {
	version, ok := tag.version()
	if !ok || version[0] != t.Version[0] {
		return false
	}
	minor, digits := version[1], tag.Python[2:]
	if tag.Platform == "any" && tag.ABI != "none" {
		return false
	}
	exact := len(digits) > 1 && minor == t.Version[1]
	own := exact && (tag.ABI == t.abi() || tag.ABI == "none")
	switch tag.Python[:2] {
	case "py":
		return tag.ABI == "none" && minor <= t.Version[1]
	case "cp":
		if t.Implementation != "cpython" {
			return false
		}
		stable := version[0] == 3 && minor >= 2 && minor <= t.Version[1] &&
			!strings.HasSuffix(t.abi(), "t")
		return own || tag.ABI == "abi3" && stable
	case "pp":
		if tag.Platform == "any" { // the one without a minor version, which no other tag has
			return t.Implementation == "pypy" && len(digits) == 1
		}
		return t.Implementation == "pypy" && own
	}
	return false
}

// version returns the version of the language in t; without a minor one it is 0.
func (t Tag) version() (v [2]int, ok bool) {
	if len(t.Python) < 3 {
		return v, false
	}
	digits := t.Python[2:]
	major, err1 := strconv.ParseUint(digits[:1], 10, 8)
	minor, err2 := strconv.ParseUint("0"+digits[1:], 10, 15)
	return [2]int{int(major), int(minor)}, err1 == nil && err2 == nil
}

// legacy are the names of manylinux tags from before they had glibc's version in them.
var legacy = map[string]int{"manylinux1": 5, "manylinux2010": 12, "manylinux2014": 17}

// runs reports whether t's system takes what is built for a platform.
func (t Target) runs(platform string) bool {
	if platform == "any" {
		return true
	}
	arch := t.arch()
	arches := []string{arch}
	if arch == "armv8l" {
		arches = append(arches, "armv7l")
	}
	for _, a := range arches {
		kind, ok := strings.CutSuffix(platform, "_"+a)
		if !ok {
			continue
		}
		if kind == "linux" {
			return true
		}
		if minor, ok := legacy[kind]; ok {
			return t.has("glibc", 2, minor) && (minor == 17 || a == "x86_64" || a == "i686")
		}
		for prefix, libc := range map[string]string{"manylinux_": "glibc", "musllinux_": "musl"} {
			if v, ok := strings.CutPrefix(kind, prefix); ok {
				v, ok := numbers(strings.Replace(v, "_", ".", 1))
				return ok && t.has(libc, v[0], v[1]) && (libc != "glibc" || t.supports(a, v[1]))
			}
		}
	}
	return false
}

// supports reports whether manylinux has such a glibc for an architecture.
func (t Target) supports(arch string, minor int) bool {
	if arch == "x86_64" || arch == "i686" {
		return minor >= 5
	}
	return minor >= 17
}

// has reports whether t's C library is at least of this version.
func (t Target) has(libc string, major, minor int) bool {
	return t.Libc == libc && t.LibcVersion[0] == major && t.LibcVersion[1] >= minor
}

// arch is the architecture of t's processes, which may be another one than the kernel's.
func (t Target) arch() string {
	if t.Bits == 32 {
		switch t.Machine {
		case "x86_64":
			return "i686"
		case "aarch64":
			return "armv8l"
		}
	}
	return t.Machine
}
