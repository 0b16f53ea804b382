package gobinary

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"

	_ "github.com/mitogen-go/mitogen/internal/testenv"
)

// header returns the ELF header of a program: class, byte order, ABI and machine.
func header(class, order, abi byte, machine uint16) []byte {
	b := make([]byte, 64)
	copy(b, "\x7fELF")
	b[4], b[5], b[6], b[7] = class, order, 1, abi
	put := binary.LittleEndian.PutUint16
	size, entries := byte(64), 54
	if order == 2 {
		put = binary.BigEndian.PutUint16
	}
	if class == 1 {
		size, entries = 52, 42
	}
	put(b[16:], 2) // ET_EXEC
	put(b[18:], machine)
	b[20+3*(int(order)-1)] = 1
	put(b[entries-2:], uint16(size))
	return b
}

func TestExamine(t *testing.T) {
	const little, big = 1, 2
	mach := append([]byte{0xcf, 0xfa, 0xed, 0xfe, 12, 0, 0, 1, 0, 0, 0, 0, 2}, make([]byte, 32)...)
	for what, test := range map[string]struct {
		b  []byte
		p  Platform
		ok bool
	}{
		"amd64":                    {header(2, little, 0, 62), Platform{"linux", "amd64"}, true},
		"arm64":                    {header(2, little, 0, 183), Platform{"linux", "arm64"}, true},
		"386":                      {header(1, little, 0, 3), Platform{"linux", "386"}, true},
		"s390x":                    {header(2, big, 0, 22), Platform{"linux", "s390x"}, true},
		"freebsd":                  {header(2, little, 9, 62), Platform{"freebsd", "amd64"}, true},
		"darwin":                   {mach, Platform{"darwin", "arm64"}, true},
		"darwin's for linux":       {mach, Platform{"linux", "arm64"}, false},
		"linux's for darwin":       {header(2, little, 0, 183), Platform{"darwin", "arm64"}, false},
		"darwin, other machine":    {mach, Platform{"darwin", "amd64"}, false},
		"other machine":            {header(2, little, 0, 183), Platform{"linux", "amd64"}, false},
		"other byte order":         {header(2, little, 0, 21), Platform{"linux", "ppc64"}, false},
		"other byte order, little": {header(2, big, 0, 21), Platform{"linux", "ppc64le"}, false},
		"freebsd's for linux":      {header(2, little, 9, 62), Platform{"linux", "amd64"}, false},
		"linux's for freebsd":      {header(2, little, 0, 62), Platform{"freebsd", "amd64"}, false},
		"a machine without name":   {header(2, little, 0, 62), Platform{"linux", "z80"}, false},
		"a script":                 {[]byte("#!/bin/sh\n"), Platform{"linux", "amd64"}, false},
		"nothing":                  {nil, Platform{"linux", "amd64"}, false},
	} {
		if _, err := examine(test.b, test.p); (err == nil) != test.ok {
			t.Errorf("%s: got %v, want %v", what, err, test.ok)
		}
	}
}

// What a target says of its platform chooses a binary, and never a wrong one.
func TestBinaryFor(t *testing.T) {
	asked := 0
	given := map[Platform][]byte{
		{"linux", "s390x"}: header(2, 2, 0, 22), {"linux", "riscv64"}: header(2, 1, 0, 183),
	}
	all := &All{Find: func(goos, goarch string) ([]byte, error) {
		asked++
		b := given[Platform{goos, goarch}]
		if b == nil {
			return nil, errors.New("not built")
		}
		return b, nil
	}}
	for _, test := range []struct{ system, machine, fails string }{
		{"Linux", "s390x", ""},
		{"Linux", "s390x", ""},
		{"Linux", "riscv64", "linux/riscv64: it is for EM_AARCH64"},
		{"FreeBSD", "amd64", "freebsd/amd64: not built"},
		{"Linux", "vax", "its platform is Linux vax"},
		{"\x1b[2J", "x86_64", "its platform is \\x1b[2J x86_64"},
		{"", "", "its platform is"},
	} {
		b, err := all.For(test.system, test.machine)
		switch {
		case test.fails == "" && (err != nil || !bytes.Equal(b.Bundle.Compressed[:1], []byte{0x78})):
			t.Errorf("%s %s: got %v, want a binary", test.system, test.machine, err)
		case test.fails != "" && (!errors.Is(err, ErrNone) ||
			!strings.Contains(err.Error(), test.fails)):
			t.Errorf("%s %s: got %v, want %s", test.system, test.machine, err, test.fails)
		}
	}
	if asked != 3 {
		t.Errorf("Binary was called %d times, want 3", asked)
	}
	all.Find = nil
	if _, err := all.For("Linux", "mips64"); !errors.Is(err, ErrNone) ||
		!strings.Contains(err.Error(), "Options.Binary") {
		t.Errorf("without Options.Binary: got %v, want the remedy", err)
	}
	path, err := Path()
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newBinary(self, Platform{runtime.GOOS, runtime.GOARCH}); err != nil {
		t.Errorf("own binary: %v", err)
	}
}

// A machine without Python gets the agent for its platform, the engine's own too, and never a wrong
// one. Where there is no agent, this program goes there.
func TestAgentFor(t *testing.T) {
	own := header(2, 1, 0, 62)
	all := &All{Agent: func(goos, goarch string) ([]byte, error) {
		switch (Platform{goos, goarch}) {
		case Platform{"linux", "amd64"}, Platform{"linux", "arm64"}:
			return own, nil
		case Platform{"linux", "s390x"}:
			return nil, errors.New("of another version")
		}
		return nil, nil
	}, Find: func(string, string) ([]byte, error) { return header(2, 1, 0, 243), nil }}
	for _, test := range []struct{ machine, fails string }{
		{"x86_64", ""},
		{"aarch64", "linux/arm64: it is for EM_X86_64"},
		{"s390x", "linux/s390x: of another version"},
		{"riscv64", ""},
		{"vax", "its platform is Linux vax"},
	} {
		b, err := all.AgentFor("Linux", test.machine)
		switch {
		case test.fails == "" && (err != nil || b.Bundle.Size != len(own)):
			t.Errorf("%s: got %v, want a binary", test.machine, err)
		case test.fails != "" && (!errors.Is(err, ErrNone) ||
			!strings.Contains(err.Error(), test.fails)):
			t.Errorf("%s: got %v, want %s", test.machine, err, test.fails)
		}
	}
	if b, err := all.For("Linux", "x86_64"); runtime.GOARCH == "amd64" && (err != nil ||
		b.Bundle.Size == len(own)) {
		t.Errorf("for Go functions: got %v, want this program, not the agent", err)
	}
}

// A program that needs a loader says so before it is executed where there is none.
func TestLoader(t *testing.T) {
	const loader = "/lib/ld-test.so.1\x00"
	b := header(2, 1, 0, 62)
	put := binary.LittleEndian
	put.PutUint64(b[32:], 64) // where the program headers are
	put.PutUint16(b[54:], 56) // size of one
	put.PutUint16(b[56:], 1)
	segment := make([]byte, 56)
	put.PutUint32(segment, 3) // PT_INTERP
	put.PutUint64(segment[8:], 64+56)
	put.PutUint64(segment[32:], uint64(len(loader)))
	b = append(append(b, segment...), loader...)
	if got, err := examine(b, Platform{"linux", "amd64"}); got != "/lib/ld-test.so.1" || err != nil {
		t.Errorf("loader: got %q, %v", got, err)
	}
}
