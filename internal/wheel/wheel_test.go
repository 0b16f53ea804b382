package wheel

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/testpython"
)

func tags(names ...string) []Tag {
	return Tags([]byte("Wheel-Version: 1.0\nTag: " + strings.Join(names, "\nTag: ") + "\n"))
}

func TestTags(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []Tag
	}{
		{"", nil},
		{"Tag: cp313-cp313-linux_x86_64\n", []Tag{{"cp313", "cp313", "linux_x86_64"}}},
		{"tag:py2.py3-none-any\r\n", []Tag{{"py2", "none", "any"}, {"py3", "none", "any"}}},
		{"Root-Is-Purelib: false\nTag: cp39-abi3-a.b\nTag: x-y\nTag:\n",
			[]Tag{{"cp39", "abi3", "a"}, {"cp39", "abi3", "b"}}},
	} {
		if got := Tags([]byte(tt.text)); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q: got %v, want %v", tt.text, got, tt.want)
		}
	}
	if got := Tags([]byte("Tag: " + strings.Repeat("a.", 2000) + "a-b-c\n")); len(got) != maxTags {
		t.Errorf("2,001 tags: got %d, want %d", len(got), maxTags)
	}
}

func TestRecord(t *testing.T) {
	got := Record([]byte("a/b.py,sha256=x,1\r\n\"a,c.so\",sha256=y,2\na/RECORD,,\n" +
		"../../bin/x,sha256=z,3\n\"open"))
	want := map[string]string{"a/b.py": "sha256=x", "a,c.so": "sha256=y", "a/RECORD": "",
		"../../bin/x": "sha256=z"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestRequires(t *testing.T) {
	got := Requires([]byte("Name: a\nRequires-Dist: cffi>=1.14; python_version>'3'\nRequires-Dist: " +
		"typing-extensions (>=4)\n" +
		"Requires-Dist: b[extra]\nRequires-Dist: no; extra == 'x'\nRequires-Dist: zope.interface\n\n" +
		"Requires-Dist: text\n"))
	want := []string{"cffi", "typing-extensions", "b", "zope.interface"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A glibc of a usual target, and what differs from it.
const usual = "linux cpython 3.13 wide x86_64 64 glibc 2.36 " +
	".cpython-313-x86_64-linux-gnu.so,.abi3.so,.so"

func TestParse(t *testing.T) {
	for _, words := range []string{"", "linux", usual + " more",
		strings.Replace(usual, "3.13", "3", 1),
		strings.Replace(usual, "64 glibc", "many glibc", 1), strings.Replace(usual, "2.36", "2.x", 1),
		usual + strings.Repeat(",.so", 10), usual + strings.Repeat("x", maxWords)} {
		if got, err := Parse(words); err == nil {
			t.Errorf("%.100q: got %v, want an error", words, got)
		}
	}
	got, err := Parse(usual)
	if err != nil || got.String() != "CPython 3.13, x86_64, glibc 2.36" {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestRefuses(t *testing.T) {
	for _, tt := range []struct{ old, new, want string }{
		{"", "", ""},
		{"linux ", "darwin ", "the target is darwin"},
		{"linux ", "freebsd13 ", "the target is freebsd13"},
		{"3.13", "2.6", "the target is Python 2.6"},
		{"3.13", "3.4", "the target is Python 3.4"},
		{"3.13", "2.7", ""},
		{" cpython", " micropython", "the target's Python is micropython"},
	} {
		target, err := Parse(strings.Replace(usual, tt.old, tt.new, 1))
		if got := target.Refuses(); err != nil || !strings.HasPrefix(got, tt.want) ||
			(got == "") != (tt.want == "") {
			t.Errorf("%s: got %q, %v, want %q", tt.new, got, err, tt.want)
		}
	}
}

func TestFits(t *testing.T) {
	musl := "linux cpython 3.12 wide aarch64 64 musl 1.2 " +
		".cpython-312-aarch64-linux-musl.so,.abi3.so,.so"
	free := "linux cpython 3.13 wide x86_64 64 glibc 2.36 .cpython-313t-x86_64-linux-gnu.so,.so"
	two := "linux2 cpython 2.7 wide x86_64 64 glibc 2.36 .so,module.so"
	small := "linux cpython 3.9 wide x86_64 32 glibc 2.31 .cpython-39-i386-linux-gnu.so,.abi3.so,.so"
	pypy := "linux pypy 3.9 wide x86_64 64 glibc 2.36 .pypy39-pp73-x86_64-linux-gnu.so,.so"
	for _, tt := range []struct {
		target, tag string
		want        bool
	}{
		{usual, "cp313-cp313-manylinux_2_17_x86_64", true},
		{usual, "cp313-cp313-manylinux2014_x86_64", true},
		{usual, "cp313-cp313-manylinux_2_36_x86_64", true},
		{usual, "cp313-cp313-manylinux_2_37_x86_64", false},
		{usual, "cp313-cp313-manylinux_3_0_x86_64", false},
		{usual, "cp312-cp312-manylinux_2_17_x86_64", false},
		{usual, "cp312-none-manylinux_2_17_x86_64", false},
		{usual, "cp39-abi3-manylinux_2_17_x86_64", true},
		{usual, "cp314-abi3-manylinux_2_17_x86_64", false},
		{usual, "cp2-abi3-manylinux_2_17_x86_64", false},
		{usual, "cp313-cp313-manylinux_2_17_aarch64", false},
		{usual, "cp313-cp313-musllinux_1_2_x86_64", false},
		{usual, "cp313-cp313-linux_x86_64", true},
		{usual, "cp313-cp313t-manylinux_2_17_x86_64", false},
		{usual, "cp313-cp313-win_amd64", false},
		{usual, "py3-none-manylinux_2_17_x86_64", true},
		{usual, "pp313-none-any", false},
		{free, "cp313-cp313t-manylinux_2_17_x86_64", true},
		{free, "cp313-cp313-manylinux_2_17_x86_64", false},
		{free, "cp39-abi3-manylinux_2_17_x86_64", false},
		{musl, "cp312-cp312-musllinux_1_1_aarch64", true},
		{musl, "cp312-cp312-musllinux_1_3_aarch64", false},
		{musl, "cp312-cp312-manylinux_2_17_aarch64", false},
		{two, "cp27-cp27mu-manylinux1_x86_64", true},
		{two, "cp27-cp27m-manylinux1_x86_64", false},
		{small, "cp39-cp39-manylinux_2_17_i686", true},
		{small, "cp39-cp39-manylinux_2_17_x86_64", false},
		{pypy, "pp39-pypy39_pp73-manylinux_2_17_x86_64", true},
		{pypy, "pp3-none-any", true},
		{pypy, "pp2-none-any", false},
		{pypy, "pp39-none-any", false},
		{pypy, "pp39-none-manylinux_2_17_x86_64", true},
		{pypy, "pp3-none-manylinux_2_17_x86_64", false},
		{pypy, "cp39-cp39-manylinux_2_17_x86_64", false},
		{pypy, "cp39-abi3-manylinux_2_17_x86_64", false},
	} {
		target, err := Parse(tt.target)
		if got := target.Fits(tags(tt.tag)); err != nil || got != tt.want {
			t.Errorf("%s on %s: got %v, %v, want %v", tt.tag, target, got, err, tt.want)
		}
	}
}

// TestOtherwise: what keeps a target from a wheel is the interpreter's version alone, or more.
func TestOtherwise(t *testing.T) {
	target, err := Parse("linux cpython 3.11 wide x86_64 64 glibc 2.36 " +
		".cpython-311-x86_64-linux-gnu.so,.abi3.so,.so")
	if err != nil {
		t.Fatal(err)
	}
	for tag, want := range map[string]bool{
		"cp313-cp313-manylinux_2_17_x86_64":  true,
		"cp38-cp38-manylinux1_x86_64":        true,
		"cp312-abi3-manylinux_2_17_x86_64":   true,
		"cp311-cp311-manylinux_2_17_x86_64":  false,
		"cp313-cp313-manylinux_2_17_aarch64": false,
		"cp313-cp313-musllinux_1_2_x86_64":   false,
		"cp313-cp313-win_amd64":              false,
		"pp311-pypy311_pp73-linux_x86_64":    false,
		"cp-cp-linux_x86_64":                 false,
	} {
		if got := target.Otherwise(tags(tag)); got != want {
			t.Errorf("%s: got %v, want %v", tag, got, want)
		}
	}
}

// supported prints what packaging.tags says of the interpreter that executes it: pip has a copy.
const supported = `
import json
from pip._vendor.packaging.tags import sys_tags
print(json.dumps([str(t) for t in sys_tags()]))
`

// words prints what the runtime's module says of the interpreter that executes it.
const words = `
import re, sys
# as the linker does
text = re.sub(r'(?m)^from _mitogen import (\([^)]*\)|.*)', '', open(sys.argv[1]).read())
exec(compile(text, 'native.py', 'exec'))
print(tags().decode()[1:])
`

// TestAgainstPackaging asks package packaging which tags fit each interpreter that has pip. Of a
// list, the same tags fit here.
func TestAgainstPackaging(t *testing.T) {
	tried := 0
	for _, p := range testpython.Sample(t.Name()) {
		out, err := exec.Command(p.Path, "-c", supported).Output()
		if err != nil {
			continue // no pip, or too old a pip
		}
		tried++
		var theirs []string
		if err := json.Unmarshal(out, &theirs); err != nil {
			t.Fatal(err)
		}
		said, err := exec.Command(p.Path, "-c", words, "../../python/native.py").CombinedOutput()
		if err != nil {
			t.Fatalf("ask %s for its target: %v; output:\n%s", p.Name(), err, said)
		}
		target, err := Parse(string(bytes.TrimSpace(said)))
		if err != nil {
			t.Fatalf("parse the target of %s: %v", p.Name(), err)
		}
		known := map[string]bool{}
		pure := false // package packaging knows pure packages for one interpreter from 22 on
		for _, tag := range theirs {
			known[tag] = true
			pure = pure || ownPure(tag)
			if !target.Fits(tags(tag)) {
				t.Errorf("%s: %s doesn't fit, packaging says that it does", p.Name(), tag)
			}
		}
		for _, tag := range generated() {
			if ownPure(tag) && !pure {
				continue
			}
			if got := target.Fits(tags(tag)); got != known[tag] {
				t.Errorf("%s: %s: got %v, packaging says %v", p.Name(), tag, got, known[tag])
			}
		}
	}
	if tried == 0 {
		t.Skip("no interpreter with pip")
	}
}

// ownPure reports whether a tag stands for pure packages of one interpreter.
func ownPure(tag string) bool {
	return strings.HasSuffix(tag, "-none-any") && !strings.HasPrefix(tag, "py")
}

// generated returns tags of all kinds.
func generated() (all []string) {
	abis := []string{"none", "abi3", "cp27mu", "pypy39_pp73"}
	pythons := []string{"py2", "py3", "py39", "cp27", "cp3", "pp39", "pp3", "pp2", "pp38"}
	for minor := 1; minor < 17; minor++ {
		abis = append(abis, fmt.Sprintf("cp3%d", minor), fmt.Sprintf("cp3%dm", minor))
		pythons = append(pythons, fmt.Sprintf("cp3%d", minor), fmt.Sprintf("py3%d", minor))
	}
	platforms := []string{"any", "linux_x86_64", "linux_i686", "linux_aarch64", "manylinux1_x86_64",
		"manylinux2010_x86_64",
		"manylinux2014_x86_64", "manylinux2014_aarch64", "musllinux_1_1_x86_64", "win_amd64",
		"macosx_11_0_arm64"}
	for _, minor := range []int{4, 5, 17, 28, 36, 41, 99} {
		platforms = append(platforms, fmt.Sprintf("manylinux_2_%d_x86_64", minor))
	}
	for _, python := range pythons {
		for _, abi := range abis {
			for _, platform := range platforms {
				all = append(all, python+"-"+abi+"-"+platform)
			}
		}
	}
	return all
}

// TestRead reads this interpreter's own libraries as readelf does.
func TestRead(t *testing.T) {
	data := readLibc(t)
	o, err := Read(data)
	if err != nil || o.SOName != "libc.so.6" || o.Bits != 64 && o.Bits != 32 {
		t.Errorf("got %+v, %v, want libc.so.6", o, err)
	}
	target := Target{Machine: o.Machine, Bits: o.Bits, Libc: "glibc", LibcVersion: [2]int{2, 99}}
	if why := o.Lacks(target); why != "" {
		t.Errorf("got %q, want nothing", why)
	}
	for _, tt := range []struct {
		o    Object
		want string
	}{
		{Object{Machine: "aarch64", Bits: 64}, "it is for aarch64 with 64 bits"},
		{Object{Machine: "i686", Bits: 32}, "it is for i686 with 32 bits"},
		{Object{Machine: "x86_64", Bits: 64, Glibc: [2]int{2, 37}}, "it needs glibc 2.37"},
		{Object{Machine: "x86_64", Bits: 64, Glibc: [2]int{2, 36}}, ""},
	} {
		target, _ := Parse(usual)
		if got := tt.o.Lacks(target); got != tt.want {
			t.Errorf("%+v: got %q, want %q", tt.o, got, tt.want)
		}
	}
	for _, cut := range []int{0, 3, 52, 64, 200, len(data) / 2} {
		if o, err := Read(data[:cut]); err == nil && o.SOName == "libc.so.6" && cut < 64 {
			t.Errorf("%d bytes: got %+v, want an error", cut, o)
		}
	}
}

func readLibc(t testing.TB) []byte {
	out, err := exec.Command("python3", "-c", "print([l.split()[-1] for l in "+
		"open('/proc/self/maps') if '/libc' in l and '.so' in l][0])").Output()
	if err != nil {
		t.Skip(err)
	}
	data, err := os.ReadFile(strings.TrimSpace(string(out)))
	if err != nil {
		t.Skip(err)
	}
	return data
}

// FuzzRead: no file and no answer makes this package panic, or say what can't be.
func FuzzRead(f *testing.F) {
	f.Add([]byte(usual))
	f.Add([]byte("Tag: a-b-c\nRequires-Dist: x"))
	f.Add(readLibc(f)[:4096])
	f.Fuzz(func(t *testing.T, data []byte) {
		Read(data)
		Record(data)
		Requires(data)
		all := Tags(data)
		target, err := Parse(string(data))
		if err == nil && (len(target.Suffixes) > maxSuffixes || len(data) > maxWords) {
			t.Errorf("got %+v of %d bytes", target, len(data))
		}
		target.Fits(all)
	})
}
