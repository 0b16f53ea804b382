package modules

import (
	"bytes"
	"compress/zlib"
	"crypto/sha256"
	"debug/elf"
	"encoding/base64"
	"encoding/binary"
	"hash/adler32"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// What interpreters say of themselves.
const (
	python313 = "linux cpython 3.13 wide x86_64 64 glibc 2.99 " +
		".cpython-313-x86_64-linux-gnu.so,.abi3.so,.so"
	python27 = "linux2 cpython 2.7 wide x86_64 64 glibc 2.99 .so,module.so"
	musl     = "linux cpython 3.13 wide x86_64 64 musl 1.2 " +
		".cpython-313-x86_64-linux-musl.so,.abi3.so,.so"
	macOS = "darwin cpython 3.13 wide arm64 64 - - .cpython-313-darwin.so,.abi3.so,.so"
)

// sharedObject returns a real one, for x86_64.
func sharedObject(t *testing.T) []byte {
	out, err := exec.Command("python3", "-c", "print([l.split()[-1] for l in "+
		"open('/proc/self/maps') if '/libc' in l and '.so' in l][0])").Output()
	if err != nil {
		t.Skip(err)
	}
	data, err := os.ReadFile(strings.TrimSpace(string(out)))
	if err != nil {
		t.Skip(err)
	}
	if f, err := elf.NewFile(bytes.NewReader(data)); err != nil || f.Machine != elf.EM_X86_64 {
		t.Skip("libc is for another machine")
	}
	return data
}

// installedWheel is a site-packages directory with one wheel.
func installedWheel(tag string, files map[string][]byte) fstest.MapFS {
	m := fstest.MapFS{"d-1.dist-info/WHEEL": {Data: []byte("Wheel-Version: 1.0\nTag: " + tag + "\n")},
		"d-1.dist-info/METADATA": {Data: []byte("Name: d\nRequires-Dist: other\n")}}
	record := ""
	for name, data := range files {
		sum := sha256.Sum256(data)
		m[name] = &fstest.MapFile{Data: data}
		record += name + ",sha256=" + base64.RawURLEncoding.EncodeToString(sum[:]) + ",1\n"
	}
	m["d-1.dist-info/RECORD"] = &fstest.MapFile{Data: []byte(record)}
	return m
}

func noBuiltin(string) ([]byte, bool) { return nil, false }

// Which extension modules are found for a target, and why the rest aren't.
func TestNativeFits(t *testing.T) {
	object := sharedObject(t)
	arm := bytes.Clone(object)
	arm[18] = byte(elf.EM_AARCH64)
	const x86 = "cp313-cp313-manylinux_2_17_x86_64"
	const file = "d/_x.cpython-313-x86_64-linux-gnu.so"
	for _, tt := range []struct {
		what, tag, file string
		data            []byte
		change          func(fstest.MapFS)
		own             bool
		abi, want       string // the reason; "": it fits
	}{
		{what: "fits", tag: x86, file: file, abi: python313},
		{what: "abi3", tag: "cp38-abi3-manylinux_2_17_x86_64", file: "d/_x.abi3.so", abi: python313},
		{what: "nothing is known", tag: x86, file: file},
		{what: "Python 2", tag: "cp27-cp27mu-manylinux1_x86_64", file: "d/_x.so", abi: python27},
		{what: "another minor version", tag: "cp311-cp311-manylinux_2_17_x86_64",
			file: "d/_x.cpython-311-x86_64-linux-gnu.so",
			abi:  python313, want: "its wheel is for cp311-cp311-manylinux_2_17_x86_64, the target is " +
				"CPython 3.13, x86_64, glibc 2.99; make the environment of --venv with Python 3.13"},
		{what: "another machine", tag: "cp313-cp313-manylinux_2_17_aarch64",
			file: "d/_x.cpython-313-aarch64-linux-gnu.so",
			abi:  python313, want: "its wheel is for cp313-cp313-manylinux_2_17_aarch64, the target is"},
		{what: "musl's wheel", tag: "cp313-cp313-musllinux_1_2_x86_64",
			file: "d/_x.cpython-313-x86_64-linux-musl.so",
			abi:  python313, want: "its wheel is for cp313-cp313-musllinux_1_2_x86_64, the target is"},
		{what: "musl's target", tag: x86, file: file, abi: musl,
			want: "the target is CPython 3.13, x86_64, musl 1.2"},
		{what: "a newer abi3", tag: "cp314-abi3-manylinux_2_17_x86_64", file: "d/_x.abi3.so",
			abi: python313, want: "its wheel is for"},
		{what: "the tags lie", tag: x86, file: file, data: arm, abi: python313,
			want: "it is for aarch64 with 64 bits"},
		{what: "a newer glibc", tag: "cp313-cp313-linux_x86_64", file: file, data: nil,
			abi: strings.Replace(python313, "2.99", "2.1", 1), want: "it needs glibc 2."},
		{what: "no suffix of the target's", tag: x86, file: "d/_x.cpython-312-x86_64-linux-gnu.so",
			abi: python313,
			want: "the target's interpreter loads no file that is called " +
				"_x.cpython-312-x86_64-linux-gnu.so"},
		{what: "by hand", tag: x86, file: file, abi: python313, want: "no wheel has brought it",
			change: func(m fstest.MapFS) {
				m["d-1.dist-info/RECORD"] = &fstest.MapFile{Data: []byte("d/__init__.py,,\n")}
			}},
		{what: "no WHEEL", tag: x86, file: file, abi: python313, want: "no wheel has brought it",
			change: func(m fstest.MapFS) { delete(m, "d-1.dist-info/WHEEL") }},
		{what: "half removed", tag: x86, file: file, abi: python313, want: "no wheel has brought it",
			change: func(m fstest.MapFS) { delete(m, "d-1.dist-info/RECORD") }},
		{what: "a pure wheel", tag: "py3-none-any", file: file, abi: python313,
			want: "no wheel has brought it"},
		{what: "changed since", tag: x86, file: file, abi: python313,
			want: "it is not the file that its wheel has brought",
			change: func(m fstest.MapFS) {
				m[file] = &fstest.MapFile{Data: append(bytes.Clone(object), 0)}
			}},
		{what: "no hash", tag: x86, file: file, abi: python313,
			want: "it is not the file that its wheel has brought",
			change: func(m fstest.MapFS) {
				m["d-1.dist-info/RECORD"] = &fstest.MapFile{Data: []byte(file + ",,\n")}
			}},
		{what: "no ELF", tag: x86, file: file, data: []byte("text"), abi: python313,
			want: "read shared object"},
		{what: "one of the user's own", tag: x86, file: file, own: true, abi: python313,
			want: "it is one of your own"},
		{what: "Windows' file", tag: "cp313-cp313-win_amd64", file: "d/_x.pyd", abi: python313,
			want: "its wheel is for cp313-cp313-win_amd64"},
		{what: "macOS", tag: x86, file: file, abi: macOS, want: "the target is darwin: only Linux"},
		{what: "an old Python", tag: x86, file: file, abi: strings.Replace(python313, "3.13", "2.6", 1),
			want: "the target is Python 2.6"},
		{what: "refused", tag: x86, file: file, abi: RefusedABI + "because", want: "because"},
		{what: "no answer", tag: x86, file: file, abi: CheckedABI(""),
			want: "the target doesn't say what it takes"},
		{what: "no words", tag: x86, file: file, abi: CheckedABI("!all of it, please"),
			want: "the target doesn't say what it takes"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			data := tt.data
			if data == nil {
				data = object
			}
			m := installedWheel(tt.tag, map[string][]byte{"d/__init__.py": nil, tt.file: data})
			if tt.change != nil {
				tt.change(m)
			}
			f := New([]Entry{{FS: m, Own: tt.own}}, noBuiltin, Options{})
			got := f.Pass().For(tt.abi).Find("d._x")
			switch {
			case tt.want == "" && (got.Letter != Native || got.Length() <= len(data) ||
				got.Size != len(data)):
				t.Errorf("got %c %s, want the module", got.Letter, got.Reason)
			case tt.want != "" && (got.Letter != Missing || !strings.Contains(got.Reason, tt.want) ||
				!strings.HasPrefix(got.Reason, tt.file+" is an extension module, which can't be sent: ")):
				t.Errorf("got %c %q, want %q", got.Letter, got.Reason, tt.want)
			}
			if plain := f.Find("d._x"); plain.Letter != Missing {
				t.Errorf("without a target: got %c, want none", plain.Letter)
			}
		})
	}
}

// A source beside an extension module goes in its place, whatever fits, unless only the compiler
// can do with it.
func TestSourceBesideNative(t *testing.T) {
	object := sharedObject(t)
	for _, tt := range []struct {
		source, abi string
		want        byte
	}{
		{"x = 1", python313, Plain},
		{"import cython", python313, Native},
		{"import os, cython as C", python313, Native},
		{"if COMPILED:\n    from cython.cimports.libc import math", python313, Plain},
		{"import cython", "", Native}, // until more is known
		{"import cython", musl, Plain},
		{"import cythonic", python313, Plain},
		{"from . import cython", python313, Plain},
		{"try:\n    import cython\nexcept ImportError:\n    cython = None", python313, Plain},
		{"def f():\n    import cython", python313, Plain},
		{"from . import gone", python313, Plain}, // which may be no module
		{"import d.gone", python313, Native},
		{"from .gone import x", python313, Native},
		{"from d.needs import x", python313, Native},
		{"from d.whole import x", python313, Plain},
		{"import gone", python313, Plain}, // the target may have it
		{"try:\n    import d.gone\nexcept ImportError:\n    pass", python313, Plain},
		{"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import cython", python313, Plain},
	} {
		for _, file := range []string{"d/_x", "d/_x/__init__"} {
			m := installedWheel("cp313-cp313-manylinux_2_17_x86_64",
				map[string][]byte{"d/__init__.py": nil, file + ".py": []byte(tt.source),
					"d/needs.py": []byte("import d.whole\nfrom d.gone import y"),
					"d/whole.py": []byte("import os, d._x\nx = 1"),
					file + ".cpython-313-x86_64-linux-gnu.so": object})
			want := tt.want
			if want == Plain && path.Base(file) == "__init__" {
				want = Package
			}
			p := New([]Entry{{FS: m}}, noBuiltin, Options{}).Pass()
			if got := p.For(tt.abi).Find("d._x"); got.Letter != want {
				t.Errorf("%s, %q: got %c %s, want %c", file, tt.source, got.Letter, got.Reason, want)
			}
			if got := p.Find("d._x"); got.Letter == Native {
				t.Errorf("%s, %q, for no target: got the extension module", file, tt.source)
			}
		}
	}
}

// Modules that were compiled together go together.
func TestCompiledTogether(t *testing.T) {
	object := sharedObject(t)
	files := map[string][]byte{"d/__init__.py": nil, "d/plain.py": nil,
		"d/needs.py": []byte("import cython"), "d/fits.py": []byte("x = 1"),
		"d/sub/__init__.py": nil, "d/sub/fits.py": []byte("x = 1")}
	for _, name := range []string{"d/needs", "d/fits", "d/sub/fits"} {
		files[name+".cpython-313-x86_64-linux-gnu.so"] = object
	}
	f := New([]Entry{{FS: installedWheel("cp313-cp313-manylinux_2_17_x86_64", files)}}, noBuiltin,
		Options{}).Pass().For(python313)
	for name, want := range map[string]byte{"d.needs": Native, "d.fits": Native, "d.plain": Plain,
		"d.sub.fits": Plain} {
		if got := f.Find(name); got.Letter != want {
			t.Errorf("%s: got %c %s, want %c", name, got.Letter, got.Reason, want)
		}
	}
}

// What a distribution has outside its package goes along with the package.
func TestParts(t *testing.T) {
	object := sharedObject(t)
	const suffix = ".cpython-313-x86_64-linux-gnu.so"
	m := installedWheel("cp313-cp313-manylinux_2_17_x86_64", map[string][]byte{"d/__init__.py": nil,
		"d/sub.py": nil, "single.py": nil, "_d_backend" + suffix: object, "d/_x" + suffix: object})
	m["stranger.py"] = &fstest.MapFile{}
	m["stray"+suffix] = &fstest.MapFile{Data: object}
	f := New([]Entry{{FS: m}}, noBuiltin, Options{})
	for name, want := range map[string]string{"d": "_d_backend", "single": "_d_backend", "d.sub": "",
		"stranger": ""} {
		var names []string
		for _, i := range f.Pass().For(python313).Find(name).Info.Imports {
			names = append(names, i.Module)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	beside := f.Beside([]string{"_d_backend", "stranger", "nowhere"})
	if got := beside["_d_backend"]; len(beside) != 1 || !slices.Contains(got, "d") {
		t.Errorf("beside _d_backend: got %q", beside)
	}
}

// What an extension module imports, as far as its text tells: of its own distribution, and of those
// that this requires.
func TestMentioned(t *testing.T) {
	text := "\x00dpk.helper\x00dpk.sub.deepAndMore\x00other.thing\x00stranger.thing\x00sibling" +
		"\x00dpk.missing\x00dpk..\x00"
	data := append(bytes.Clone(sharedObject(t)), text...)
	m := installedWheel("cp313-cp313-manylinux_2_17_x86_64",
		map[string][]byte{"dpk/__init__.py": nil, "dpk/helper.py": nil,
			"dpk/sub/__init__.py": nil, "dpk/sub/deep.py": nil, "dpk/sibling.py": nil,
			"dpk/stranger.py":                        nil,
			"dpk/_x.cpython-313-x86_64-linux-gnu.so": data})
	for _, name := range []string{"other", "stranger"} {
		m[name+"/__init__.py"] = &fstest.MapFile{}
		m[name+"/thing.py"] = &fstest.MapFile{}
		m[name+"-1.dist-info/RECORD"] = &fstest.MapFile{Data: []byte(name + "/thing.py,,\n")}
	}
	got := New([]Entry{{FS: m}}, noBuiltin, Options{}).Pass().For(python313).Find("dpk._x")
	var names []string
	for _, i := range got.Info.Imports {
		names = append(names, i.Module)
	}
	if want := "dpk dpk.helper dpk.sibling dpk.sub.deep other other.thing"; strings.Join(names,
		" ") != want {
		t.Errorf("got %s, want %s", strings.Join(names, " "), want)
	}
}

// A package whose __init__ is an extension module, and a helper of mypyc's.
func TestNativeNames(t *testing.T) {
	object := sharedObject(t)
	m := installedWheel("cp313-cp313-manylinux_2_17_x86_64",
		map[string][]byte{"d/__init__.cpython-313-x86_64-linux-gnu.so": object,
			"d/other.py": nil, "81d243bd2c585b0f4821__mypyc.cpython-313-x86_64-linux-gnu.so": object})
	p := New([]Entry{{FS: m}}, noBuiltin, Options{}).Pass().For(python313)
	for name, want := range map[string]byte{"d": Native, "d.other": Plain,
		"81d243bd2c585b0f4821__mypyc": Native, "81": Missing, "__mypyc": Missing} {
		if got := p.Find(name); got.Letter != want {
			t.Errorf("%s: got %c %s, want %c", name, got.Letter, got.Reason, want)
		}
	}
	if !p.Find("d").IsPackage() || p.Find("81d243bd2c585b0f4821__mypyc").IsPackage() {
		t.Error("d is the package")
	}
}

// A package whose __init__ is an extension module has files, and an outline, as any other one.
func TestFilesOfNativePackage(t *testing.T) {
	const init = "d/__init__.cpython-313-x86_64-linux-gnu.so"
	m := installedWheel("cp313-cp313-manylinux_2_17_x86_64", map[string][]byte{
		init: sharedObject(t), "d/other.py": []byte("x = 1"), "d/data/a.txt": []byte("a")})
	f := New([]Entry{{FS: m}}, noBuiltin, Options{})
	for name, want := range map[string]string{"other.py": "x = 1", "data/a.txt": "a"} {
		rest, size, err := f.File(given{sent: "d"}, "d", name)
		if text, err := inflated(t, rest, size, err); text != want || err != nil {
			t.Errorf("%s: got %q, %v, want %q", name, text, err, want)
		}
	}
	if _, _, err := f.File(given{sent: "e"}, "d", "other.py"); err == nil {
		t.Error("a file was given of a package that wasn't sent")
	}
	names, err := f.List(given{sent: "d"}, "d", "")
	if want := []string{path.Base(init), "data/", "other.py"}; !slices.Equal(names, want) {
		t.Errorf("names: got %q, %v, want %q", names, err, want)
	}
	data, err := f.Outline(given{sent: "d"}, "d")
	lines, _ := outlined(t, data, err)
	if at := Root + unplaced + "/d/data/a.txt 1"; lines[0] != "whole" || !slices.Contains(lines, at) {
		t.Errorf("outline: got %q, %v, want a whole one with %s", lines, err, at)
	}
	if along := f.Pass().Find("d/"); along.Letter != Data {
		t.Errorf("outline in a bundle: got %c %s", along.Letter, along.Reason)
	}
}

// No name leads to a file that no wheel has brought.
func TestLibrariesByList(t *testing.T) {
	m := installedWheel("cp313-cp313-manylinux_2_17_x86_64",
		map[string][]byte{"d.libs/lib.so.1": sharedObject(t), "d/data.txt": []byte("x")})
	m["secret.so"] = &fstest.MapFile{Data: []byte("x")}
	f := New([]Entry{{FS: m}}, noBuiltin, Options{})
	for name, want := range map[string]byte{"/d.libs/lib.so.1": Library, "/secret.so": Missing,
		"/d/data.txt":   Missing,
		"/../secret.so": Missing, "//d.libs/lib.so.1": Missing, "/": Missing,
		"/d.libs/../d.libs/lib.so.1": Missing} {
		if got := f.Pass().Find(name); got.Letter != want {
			t.Errorf("%s: got %c, want %c", name, got.Letter, want)
		}
	}
	own := New([]Entry{{FS: m, Own: true}}, noBuiltin, Options{})
	if got := own.Pass().Find("/d.libs/lib.so.1"); got.Letter != Missing {
		t.Errorf("of the user's own: got %c, want none", got.Letter)
	}
}

// Packed parts make a stream together, of what is in the file by then. Nothing of it stays in
// memory.
func TestPack(t *testing.T) {
	data := bytes.Repeat(sharedObject(t), 2)
	const file = "d/_x.cpython-313-x86_64-linux-gnu.so"
	m := installedWheel("cp313-cp313-linux_x86_64", map[string][]byte{file: data})
	x := New([]Entry{{FS: m}}, noBuiltin, Options{}).Pass().For(python313).Find("d._x")
	if x.Letter != Native || x.Source != nil || x.Length() != len(data)+1 {
		t.Fatalf("got %c (%s), %d bytes held, length %d", x.Letter, x.Reason, len(x.Source), x.Length())
	}
	sum := adler32.New()
	packed, err := x.Pack(func(piece []byte) { sum.Write(piece) })
	if err != nil {
		t.Fatal(err)
	}
	stream := append([]byte{0x78, 0x01}, bytes.Join(packed, nil)...)
	stream = sum.Sum(append(stream, 1, 0, 0, 0xff, 0xff))
	r, err := zlib.NewReader(bytes.NewReader(stream))
	if err != nil {
		t.Fatal(err)
	}
	whole := append([]byte{0}, data...)
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, whole) {
		t.Errorf("got %d bytes, %v, want %d", len(got), err, len(whole))
	}
	if len(stream) > len(whole)*3/4 {
		t.Errorf("got %d bytes packed of %d", len(stream), len(whole))
	}
	for what, other := range map[string]*fstest.MapFile{"shorter": {Data: data[:len(data)-1]},
		"another byte": {Data: append(data[:len(data)-1:len(data)-1], data[len(data)-1]+1)},
		"FIFO":         {Data: data, Mode: fs.ModeNamedPipe},
		"directory":    {Mode: fs.ModeDir}} {
		m[file] = other
		if _, err := x.Pack(func([]byte) {}); err == nil {
			t.Errorf("%s: got no error", what)
		}
		reason := "has changed"
		if !other.Mode.IsRegular() {
			reason = "not a file"
		}
		if got := x.Alone(); got.Letter != Missing || !strings.Contains(got.Reason, reason) {
			t.Errorf("%s: got %c (%s), want none", what, got.Letter, got.Reason)
		}
	}
	delete(m, file)
	if _, err := x.Pack(func([]byte) {}); err == nil {
		t.Error("removed: got no error")
	}
}

// What the distributions of a package require is asked about along with it.
func TestRequired(t *testing.T) {
	m := fstest.MapFS{}
	for name, text := range map[string]string{"a-1.dist-info/METADATA": "Requires-Dist: B_c>=1\n" +
		"Requires-Dist: gone\nRequires-Dist: d; extra == 'x'\n",
		"b.c-2.dist-info/METADATA": "", "b.c-2.dist-info/top_level.txt": "bc\nother\n",
		"d-1.dist-info/METADATA":      "Requires-Dist: a\n",
		"d-1.dist-info/top_level.txt": "d\n", "a-1.dist-info/top_level.txt": "a\n"} {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	f := New([]Entry{{FS: m}}, noBuiltin, Options{Deny: []string{"other"}})
	for _, tt := range []struct{ tops, want string }{{"a", "bc"}, {"a d", "a bc"}, {"A", "bc"},
		{"bc", ""}, {"", ""}, {"../a", ""}} {
		if got := strings.Join(f.Required(strings.Fields(tt.tops)), " "); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.tops, got, tt.want)
		}
	}
	if got := New([]Entry{{FS: m, Own: true}}, noBuiltin,
		Options{}).Required([]string{"a"}); got != nil {
		t.Errorf("of the user's own: got %q, want none", got)
	}
}

// elfObject makes a shared object for x86_64 with nothing in it but dynamic entries of text.
func elfObject(t *testing.T, entries map[elf.DynTag]string) []byte {
	t.Helper()
	texts, dynamic := []byte{0}, []elf.Dyn64{}
	for tag, text := range entries {
		dynamic = append(dynamic, elf.Dyn64{Tag: int64(tag), Val: uint64(len(texts))})
		texts = append(texts, text+"\x00"...)
	}
	dynamic = append(dynamic, elf.Dyn64{})
	const head, section, entry = 64, 64, 16
	at := uint64(head + 3*section)
	size := uint64(len(dynamic) * entry)
	h := elf.Header64{Type: uint16(elf.ET_DYN), Machine: uint16(elf.EM_X86_64), Version: 1,
		Shoff: head, Ehsize: head, Shentsize: section, Shnum: 3, Shstrndx: 1}
	copy(h.Ident[:], elf.ELFMAG+"\x02\x01\x01") // 64 bits, little-endian
	var out bytes.Buffer
	for _, part := range []any{h, elf.Section64{},
		elf.Section64{Type: uint32(elf.SHT_STRTAB), Off: at + size, Size: uint64(len(texts))},
		elf.Section64{Type: uint32(elf.SHT_DYNAMIC), Off: at, Size: size, Link: 1, Entsize: entry},
		dynamic, texts} {
		if err := binary.Write(&out, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

// An extension module whose library could not be had is looked at again once the library is there.
func TestLibraryIsThereLater(t *testing.T) {
	const file, libFile = "d/_x.cpython-313-x86_64-linux-gnu.so", "d.libs/lib.so.1"
	lib := elfObject(t, map[elf.DynTag]string{elf.DT_SONAME: "lib.so.1"})
	m := installedWheel("cp313-cp313-manylinux_2_17_x86_64", map[string][]byte{libFile: lib,
		file: elfObject(t, map[elf.DynTag]string{elf.DT_NEEDED: "lib.so.1",
			elf.DT_RUNPATH: "$ORIGIN/../d.libs"})})
	there := m[libFile]
	for what, other := range map[string]*fstest.MapFile{"gone": nil,
		"spoilt": {Data: append(bytes.Clone(lib), 0)}} {
		if m[libFile] = other; other == nil {
			delete(m, libFile)
		}
		f := New([]Entry{{FS: m}}, noBuiltin, Options{})
		find := func() *Module { return f.Pass().For(python313).Find("d._x") }
		if got := find(); got.Letter != Missing || !strings.Contains(got.Reason, libFile) {
			t.Errorf("%s: got %c %q, want none because of %s", what, got.Letter, got.Reason, libFile)
		}
		m[libFile] = there
		if got := find(); got.Letter != Native || len(got.Libraries) != 1 {
			t.Errorf("%s, and there again: got %c %q, libraries %q, want the module and one",
				what, got.Letter, got.Reason, got.Libraries)
		}
	}
}
