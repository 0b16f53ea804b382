// Package gobinary finds this program for the platforms of targets, to be sent there.
package gobinary

import (
	"bytes"
	"compress/zlib"
	"debug/elf"
	"debug/macho"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"

	"github.com/mitogen-go/mitogen/internal/bundle"
	"github.com/mitogen-go/mitogen/internal/printable"
)

// ErrNone says that there is no binary of this program that a target can execute.
var ErrNone = errors.New("no binary of this program for the target")

// Binary is this program for a platform.
type Binary struct {
	Bundle *bundle.Bundle
	Loader string // path of what the binary needs to be executed; "": nothing, it is static
	For    Platform

	crc uint32 // CRC-32 of the binary
}

// A Platform is GOOS and GOARCH.
type Platform struct{ os, arch string }

func (p Platform) String() string { return p.os + "/" + p.arch }

// systems and machines have Go's names for what uname says.
var (
	systems = map[string]string{"Linux": "linux", "Darwin": "darwin", "FreeBSD": "freebsd",
		"NetBSD": "netbsd", "OpenBSD": "openbsd", "DragonFly": "dragonfly"}
	machines = map[string]string{"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64",
		"arm64": "arm64", "i386": "386", "i486": "386", "i586": "386", "i686": "386",
		"armv5tel": "arm", "armv6l": "arm", "armv7l": "arm", "ppc64": "ppc64", "ppc64le": "ppc64le",
		"s390x": "s390x", "riscv64": "riscv64", "loongarch64": "loong64", "mips64": "mips64"}
)

// All has the binaries of one engine.
type All struct {
	// Find returns this program for another platform than this process's, by Go's names. Nil: there
	// is none.
	Find func(goos, goarch string) ([]byte, error)
	// Agent returns what goes to a machine without Python; if it returns nil, this program does.
	// Nil: this program does.
	Agent func(goos, goarch string) ([]byte, error)

	mu   sync.Mutex // held while a binary is made
	made map[key]*Binary
}

// A key is a platform, and which of the two functions has given a binary for it.
type key struct {
	Platform
	agent bool
}

// own is the binary of this process, for all engines.
var own = sync.OnceValues(func() (*Binary, error) {
	path, err := Path()
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return newBinary(b, Platform{runtime.GOOS, runtime.GOARCH})
})

// Path returns the path of this program. On Linux it leads to the file that was executed,
// whatever stands at its name now.
func Path() (string, error) {
	const running = "/proc/self/exe"
	if runtime.GOOS == "linux" {
		if _, err := os.Stat(running); err == nil {
			return running, nil
		}
	}
	return os.Executable()
}

// platformOf returns the platform of a machine, by what its uname says, which comes from a target.
func platformOf(system, machine string) (p Platform, err error) {
	p = Platform{systems[system], machines[machine]}
	if p.os == "" || p.arch == "" {
		return p, fmt.Errorf("%w: its platform is %s", ErrNone, shown(system+" "+machine))
	}
	return p, nil
}

// AgentFor returns what goes to a machine without Python: the agent, else this program. What uname
// says of the machine comes from a target.
func (a *All) AgentFor(system, machine string) (*Binary, error) {
	if a.Agent == nil {
		return a.For(system, machine)
	}
	p, err := platformOf(system, machine)
	if err != nil {
		return nil, err
	}
	b, err := a.given(key{p, true}, a.Agent)
	if b == nil && err == nil {
		return a.For(system, machine)
	}
	return b, err
}

// For returns this program for a machine, by what its uname says, which comes from a target.
func (a *All) For(system, machine string) (*Binary, error) {
	p, err := platformOf(system, machine)
	if err != nil {
		return nil, err
	}
	if p == (Platform{runtime.GOOS, runtime.GOARCH}) {
		return own()
	}
	if a.Find == nil {
		return nil, fmt.Errorf("%w: its platform is %v, this program is for %s/%s: "+
			"make one for it by mitogen build, and give it by --binaries, in a program by Options.Binary",
			ErrNone, p, runtime.GOOS, runtime.GOARCH)
	}
	return a.given(key{p, false}, a.Find)
}

// given returns what a function of a's gives for a platform. It is asked once; if it gives nothing,
// again.
func (a *All) given(k key, ask func(goos, goarch string) ([]byte, error)) (*Binary, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if b := a.made[k]; b != nil {
		return b, nil
	}
	r, err := ask(k.os, k.arch)
	if err != nil {
		return nil, fmt.Errorf("%w: %v: %w", ErrNone, k.Platform, err)
	}
	if r == nil && k.agent {
		return nil, nil
	}
	b, err := newBinary(r, k.Platform)
	if err != nil {
		return nil, err
	}
	if a.made == nil {
		a.made = map[key]*Binary{}
	}
	a.made[k] = b
	return b, nil
}

// shown makes a text from a target fit for people: on one line, and no longer than two names.
func shown(s string) string {
	const most = 255
	s = printable.Line(s[:min(len(s), most)])
	return strings.ToValidUTF8(s[:min(len(s), most)], "")
}

// A Binary's bundle is a zlib stream, whose middle is a gzip's, too.
const (
	zlibHead = 2
	zlibTail = 4
	gzipHead = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff" // deflate; no time, unknown system
)

// Gzip returns the parts of the binary as gzip.
func (b *Binary) Gzip() [][]byte {
	z := b.Bundle.Compressed
	tail := binary.LittleEndian.AppendUint32(nil, b.crc)
	tail = binary.LittleEndian.AppendUint32(tail, uint32(b.Bundle.Size))
	return [][]byte{[]byte(gzipHead), z[zlibHead : len(z)-zlibTail], tail}
}

// Whole returns the binary as it was.
func (b *Binary) Whole() ([][]byte, error) {
	r, err := zlib.NewReader(bytes.NewReader(b.Bundle.Compressed))
	if err != nil {
		return nil, err
	}
	whole, err := io.ReadAll(r)
	return [][]byte{whole}, err
}

// maxBinary bounds a binary in bytes, as bundles are bounded.
const maxBinary = 128 << 20

// newBinary returns what is sent of a binary, which has to be for p.
func newBinary(b []byte, p Platform) (*Binary, error) {
	if len(b) > maxBinary {
		return nil, fmt.Errorf("%w: %v: got %d bytes, want at most %d", ErrNone, p, len(b), maxBinary)
	}
	loader, err := examine(b, p)
	if err != nil {
		return nil, fmt.Errorf("%w: %v: %w", ErrNone, p, err)
	}
	return Pack(b, loader, p), nil
}

// Pack returns what is sent of a binary.
func Pack(b []byte, loader string, p Platform) *Binary {
	return &Binary{bundle.Program(b), loader, p, crc32.ChecksumIEEE(b)}
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
func examine(b []byte, p Platform) (loader string, err error) {
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
