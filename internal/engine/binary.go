package engine

import (
	"bytes"
	"debug/elf"
	"debug/macho"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"

	"github.com/mitogen-go/mitogen/internal/bundle"
)

// goBinary is this program for a platform.
type goBinary struct {
	program *bundle.Bundle
	loader  string // path of what the binary needs to be executed; "": nothing, it is static
	crc     uint32 // CRC-32 of the binary
	of      platform
}

// A platform is GOOS and GOARCH.
type platform struct{ os, arch string }

func (p platform) String() string { return p.os + "/" + p.arch }

// systems and machines have Go's names for what uname says.
var (
	systems = map[string]string{"Linux": "linux", "Darwin": "darwin", "FreeBSD": "freebsd",
		"NetBSD": "netbsd", "OpenBSD": "openbsd", "DragonFly": "dragonfly"}
	machines = map[string]string{"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64",
		"arm64": "arm64", "i386": "386", "i486": "386", "i586": "386", "i686": "386",
		"armv5tel": "arm", "armv6l": "arm", "armv7l": "arm", "ppc64": "ppc64", "ppc64le": "ppc64le",
		"s390x": "s390x", "riscv64": "riscv64", "loongarch64": "loong64", "mips64": "mips64"}
)

// binaries are those of one engine that Options.Binary and Options.Agent have given.
type binaries struct {
	sync.Mutex // held while one is made
	made       map[binaryKey]*goBinary
}

// A binaryKey is a platform, and which of the two functions has given a binary for it.
type binaryKey struct {
	platform
	agent bool
}

// own is the binary of this process, for all engines.
var own = sync.OnceValues(func() (*goBinary, error) {
	path, err := ownBinary()
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return newGoBinary(b, platform{runtime.GOOS, runtime.GOARCH})
})

// platformOf returns the platform of a machine, by what its uname says, which comes from a target.
func platformOf(system, machine string) (p platform, err error) {
	p = platform{systems[system], machines[machine]}
	if p.os == "" || p.arch == "" {
		return p, fmt.Errorf("%w: its platform is %s", ErrNoBinary, oneLine(system+" "+machine))
	}
	return p, nil
}

// agentFor returns what goes to a machine without Python: the agent, else this program.
func (s *starts) agentFor(system, machine string) (*goBinary, error) {
	if s.e.opt.Agent == nil {
		return s.binaryFor(system, machine)
	}
	p, err := platformOf(system, machine)
	if err != nil {
		return nil, err
	}
	b, err := s.given(binaryKey{p, true}, s.e.opt.Agent)
	if b == nil && err == nil {
		return s.binaryFor(system, machine)
	}
	return b, err
}

// binaryFor returns this program for a machine.
func (s *starts) binaryFor(system, machine string) (*goBinary, error) {
	p, err := platformOf(system, machine)
	if err != nil {
		return nil, err
	}
	if p == (platform{runtime.GOOS, runtime.GOARCH}) {
		return own()
	}
	if s.e.opt.Binary == nil {
		return nil, fmt.Errorf("%w: its platform is %v, this program is for %s/%s: "+
			"make one for it by mitogen build, and give it by --binaries, in a program by Options.Binary",
			ErrNoBinary, p, runtime.GOOS, runtime.GOARCH)
	}
	return s.given(binaryKey{p, false}, s.e.opt.Binary)
}

// given returns what a function of the engine's options gives for a platform. It is asked once; if
// it gives nothing, again.
func (s *starts) given(
	k binaryKey, ask func(goos, goarch string) ([]byte, error)) (*goBinary, error) {
	s.binaries.Lock()
	defer s.binaries.Unlock()
	if b := s.binaries.made[k]; b != nil {
		return b, nil
	}
	r, err := ask(k.os, k.arch)
	if err != nil {
		return nil, fmt.Errorf("%w: %v: %w", ErrNoBinary, k.platform, err)
	}
	if r == nil && k.agent {
		return nil, nil
	}
	b, err := newGoBinary(r, k.platform)
	if err != nil {
		return nil, err
	}
	if s.binaries.made == nil {
		s.binaries.made = map[binaryKey]*goBinary{}
	}
	s.binaries.made[k] = b
	return b, nil
}

// maxBinary bounds a binary in bytes, as bundles are bounded.
const maxBinary = 128 << 20

// newGoBinary returns what is sent of a binary, which has to be for p.
func newGoBinary(b []byte, p platform) (*goBinary, error) {
	if len(b) > maxBinary {
		return nil, fmt.Errorf("%w: %v: got %d bytes, want at most %d", ErrNoBinary, p, len(b), maxBinary)
	}
	loader, err := examine(b, p)
	if err != nil {
		return nil, fmt.Errorf("%w: %v: %w", ErrNoBinary, p, err)
	}
	return packedBinary(b, loader, p), nil
}

// packedBinary returns what is sent of a binary.
func packedBinary(b []byte, loader string, p platform) *goBinary {
	return &goBinary{bundle.Program(b), loader, crc32.ChecksumIEEE(b), p}
}

// elfMachines and machoMachines have what a header says of GOARCH.
var (
	elfMachines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64,
		"386": elf.EM_386, "arm": elf.EM_ARM, "ppc64": elf.EM_PPC64, "ppc64le": elf.EM_PPC64,
		"s390x": elf.EM_S390, "riscv64": elf.EM_RISCV, "loong64": elf.EM_LOONGARCH, "mips64": elf.EM_MIPS}
	machoMachines = map[string]macho.Cpu{"amd64": macho.CpuAmd64, "arm64": macho.CpuArm64}
	littleEndian  = map[string]bool{"ppc64le": true, "ppc64": false, "mips64": false, "s390x": false}
)

// examine reports whether a binary is for p, and which loader it needs.
func examine(b []byte, p platform) (loader string, err error) {
	if p.os == "darwin" {
		f, err := macho.NewFile(bytes.NewReader(b))
		if err == nil && f.Cpu != machoMachines[p.arch] {
			err = fmt.Errorf("it is for %v", f.Cpu)
		}
		return "", err
	}
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		return "", fmt.Errorf("it is no ELF file: %w", err)
	}
	little, either := littleEndian[p.arch]
	if !either {
		little = true
	}
	switch {
	case f.Machine != elfMachines[p.arch] || (f.Data == elf.ELFDATA2LSB) != little:
		return "", fmt.Errorf("it is for %v, %v", f.Machine, f.Data)
	case f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN:
		return "", fmt.Errorf("it is no program but %v", f.Type)
	case p.os == "linux" && f.OSABI != elf.ELFOSABI_NONE && f.OSABI != elf.ELFOSABI_LINUX,
		p.os == "freebsd" && f.OSABI != elf.ELFOSABI_FREEBSD:
		return "", fmt.Errorf("it is for %v", f.OSABI)
	}
	for _, s := range f.Progs {
		if s.Type == elf.PT_INTERP {
			text, err := io.ReadAll(io.LimitReader(s.Open(), maxLoader))
			return strings.TrimRight(string(text), "\x00"), err
		}
	}
	return "", nil
}

// maxLoader bounds the path of a loader in bytes.
const maxLoader = 4096
