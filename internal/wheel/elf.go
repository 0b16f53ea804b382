package wheel

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// Object holds the facts that a shared object states about itself.
type Object struct {
	Machine string   // as uname has it: "x86_64"
	Bits    int      //
	Needed  []string // names of libraries
	SOName  string   // "": none
	Paths   []string // where its libraries are looked for first
	Glibc   [2]int   // the newest version of glibc's that a symbol is of; zero: none is
}

// machines are the names of architectures.
var machines = map[elf.Machine]string{elf.EM_X86_64: "x86_64", elf.EM_386: "i686",
	elf.EM_AARCH64: "aarch64",
	elf.EM_ARM:     "armv7l", elf.EM_PPC64: "ppc64le", elf.EM_S390: "s390x", elf.EM_RISCV: "riscv64",
	elf.EM_LOONGARCH: "loongarch64"}

// Read returns what a shared object says. An error: it is none, or broken.
func Read(data []byte) (o Object, err error) {
	defer func() {
		if p := recover(); p != nil { // debug/elf doesn't promise to survive every file
			err = fmt.Errorf("read shared object: %v", p)
		}
	}()
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return o, fmt.Errorf("read shared object: %w", err)
	}
	if f.Type != elf.ET_DYN {
		return o, fmt.Errorf("read shared object: got %v", f.Type)
	}
	o.Bits = 32
	if f.Class == elf.ELFCLASS64 {
		o.Bits = 64
	}
	if o.Machine = machines[f.Machine]; o.Machine == "" {
		o.Machine = f.Machine.String()
	}
	if f.Machine == elf.EM_PPC64 && f.ByteOrder == binary.BigEndian {
		o.Machine = "ppc64"
	}
	if o.Needed, err = f.DynString(elf.DT_NEEDED); err != nil {
		return o, fmt.Errorf("read shared object: %w", err)
	}
	for _, tag := range []elf.DynTag{elf.DT_RUNPATH, elf.DT_RPATH} {
		paths, _ := f.DynString(tag)
		for _, p := range paths {
			o.Paths = append(o.Paths, strings.Split(p, ":")...)
		}
	}
	if names, _ := f.DynString(elf.DT_SONAME); len(names) > 0 {
		o.SOName = names[0]
	}
	o.Glibc = newestGlibc(f)
	return o, nil
}

// newestGlibc returns the newest version of glibc's that f needs.
func newestGlibc(f *elf.File) (newest [2]int) {
	needs, err := f.DynamicVersionNeeds()
	if err != nil {
		return newest
	}
	for _, lib := range needs {
		for _, n := range lib.Needs {
			v, ok := numbers(strings.TrimPrefix(n.Dep, "GLIBC_"))
			if ok && strings.HasPrefix(n.Dep, "GLIBC_") && slices.Compare(v[:], newest[:]) > 0 {
				newest = v
			}
		}
	}
	return newest
}

// Lacks returns what keeps t from loading o; "": nothing that can be told.
func (o *Object) Lacks(t Target) string {
	arch := t.arch()
	if arch == "armv8l" {
		arch = "armv7l"
	}
	switch {
	case o.Bits != t.Bits || o.Machine != arch && !sameFamily(o.Machine, arch):
		return fmt.Sprintf("it is for %s with %d bits", o.Machine, o.Bits)
	case o.Glibc != [2]int{} && t.Libc != "glibc":
		return "it needs glibc"
	case slices.Compare(o.Glibc[:], t.LibcVersion[:]) > 0 && t.Libc == "glibc":
		return fmt.Sprintf("it needs glibc %d.%d", o.Glibc[0], o.Glibc[1])
	}
	return ""
}

// sameFamily reports whether both are names of processors that have one kind of ELF files.
func sameFamily(a, b string) bool {
	for _, prefix := range []string{"arm", "i", "mips"} {
		if strings.HasPrefix(a, prefix) && strings.HasPrefix(b, prefix) {
			return true
		}
	}
	return false
}
