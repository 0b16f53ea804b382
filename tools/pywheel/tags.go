package main

import (
	"bytes"
	"debug/elf"
	"debug/macho"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// platforms has the tags of wheels for each platform of releases, in order.
//
// A program for Linux is static: it uses no C library, so that it runs beside any. It needs the
// kernel that Go does (3.2), which systems with glibc 2.17 have, and those with musl 1.1. pip knows
// manylinux2014 from 19.3 on.
//
// pip takes a wheel for FreeBSD on exactly the release that its tag has; PyPI takes none.
var platforms = map[string][]string{
	"linux/amd64":   {"manylinux2014_x86_64", "manylinux_2_17_x86_64", "musllinux_1_1_x86_64"},
	"linux/arm64":   {"manylinux2014_aarch64", "manylinux_2_17_aarch64", "musllinux_1_1_aarch64"},
	"darwin/amd64":  {"macosx_12_0_x86_64"},
	"darwin/arm64":  {"macosx_12_0_arm64"},
	"freebsd/amd64": forFreeBSD("amd64"),
	"freebsd/arm64": forFreeBSD("arm64"),
}

// forFreeBSD returns tags for the releases of FreeBSD that are kept up.
func forFreeBSD(arch string) (tags []string) {
	for _, release := range []string{"13_5", "14_3", "15_0"} {
		tags = append(tags, "freebsd_"+release+"_release_"+arch)
	}
	return tags
}

// machines has what a program's file says of its architecture.
var machines = map[string]struct {
	elf elf.Machine
	cpu macho.Cpu
}{
	"amd64": {elf.EM_X86_64, macho.CpuAmd64},
	"arm64": {elf.EM_AARCH64, macho.CpuArm64},
}

// platformTags returns the tags for a program. An error: the program isn't what they promise.
func platformTags(platform string, program []byte) ([]string, error) {
	tags := platforms[platform]
	if tags == nil {
		return nil, fmt.Errorf("platform: got %q, which has no tags in tools/pywheel", platform)
	}
	system, arch, _ := strings.Cut(platform, "/")
	if system == "darwin" {
		return tags, checkMachO(program, machines[arch].cpu, tags[0])
	}
	return tags, checkELF(program, machines[arch].elf)
}

// checkELF demands a static program.
func checkELF(program []byte, machine elf.Machine) error {
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return fmt.Errorf("read program: %w", err)
	}
	if f.Machine != machine {
		return fmt.Errorf("read program: got one for %v, want %v", f.Machine, machine)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			return errors.New("read program: got one that uses shared libraries, want a static one: " +
				"build it with CGO_ENABLED=0")
		}
	}
	return nil
}

// buildVersion is the load command of a Mach-O file that has the oldest macOS that it runs on.
const buildVersion = 0x32

// checkMachO demands a program that runs on the oldest macOS that a tag promises.
func checkMachO(program []byte, cpu macho.Cpu, tag string) error {
	f, err := macho.NewFile(bytes.NewReader(program))
	if err != nil {
		return fmt.Errorf("read program: %w", err)
	}
	if f.Cpu != cpu {
		return fmt.Errorf("read program: got one for %v, want %v", f.Cpu, cpu)
	}
	for _, l := range f.Loads {
		raw := l.Raw()
		if len(raw) < 16 || f.ByteOrder.Uint32(raw) != buildVersion {
			continue
		}
		oldest := f.ByteOrder.Uint32(raw[12:])
		got := fmt.Sprintf("macosx_%d_%d_", oldest>>16, oldest>>8&0xff)
		if !strings.HasPrefix(tag, got) {
			return fmt.Errorf("read program: got one for %s…, want the tag's %s", got, tag)
		}
		return nil
	}
	return errors.New("read program: got no oldest macOS, want one")
}

var (
	tagged = regexp.MustCompile(
		`^v?(\d+(?:\.\d+)*)(?:-?(alpha|beta|a|b|rc)\.?(\d+))?(?:-(\d+)-g([0-9a-f]+))?(-dirty)?$`)
	bare = regexp.MustCompile(`^(unknown|[0-9a-f]{4,64})(-dirty)?$`)
	// shortened are PEP 440's words for what comes before a release.
	shortened = map[string]string{"alpha": "a", "beta": "b", "a": "a", "b": "b", "rc": "rc"}
)

// publicVersion returns what git describe has printed as PEP 440 writes it. Versions between two
// releases have a part behind a "+", which PyPI takes none of.
func publicVersion(described string) (string, error) {
	if m := bare.FindStringSubmatch(described); m != nil {
		return "0.0.0+" + local(m[1], m[2] != ""), nil
	}
	m := tagged.FindStringSubmatch(described)
	if m == nil {
		return "", fmt.Errorf("version: got %q, want such as v1.2.3, v1.2.3-rc.1 or v1.2.3-5-gabcdef0",
			described)
	}
	version := m[1]
	if m[2] != "" {
		version += shortened[m[2]] + m[3]
	}
	if m[4] != "" {
		version += ".post" + m[4]
	}
	if l := local(m[5], m[6] != ""); l != "" {
		version += "+" + l
	}
	return version, nil
}

// local returns the part of a version behind the "+".
func local(hash string, dirty bool) string {
	switch {
	case hash != "" && hash != "unknown":
		hash = "g" + hash
	case hash == "" && dirty:
		return "dirty"
	}
	if dirty {
		hash += ".dirty"
	}
	return hash
}
