package main

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	_ "github.com/mitogen-go/mitogen/internal/testenv"
	fits "github.com/mitogen-go/mitogen/internal/wheel"
)

func TestPublicVersion(t *testing.T) {
	for _, tt := range []struct{ described, want string }{
		{"v1.2.3", "1.2.3"},
		{"1.2", "1.2"},
		{"v2", "2"},
		{"v1.2.3-dirty", "1.2.3+dirty"},
		{"v1.2.3-rc.1", "1.2.3rc1"},
		{"v1.2.3-beta2", "1.2.3b2"},
		{"v1.2.3-alpha.10-4-g1f12d19", "1.2.3a10.post4+g1f12d19"},
		{"v1.2.3-5-g1f12d19-dirty", "1.2.3.post5+g1f12d19.dirty"},
		{"1f12d191", "0.0.0+g1f12d191"},
		{"1234567-dirty", "0.0.0+g1234567.dirty"},
		{"unknown", "0.0.0+unknown"},
		{"", ""},
		{"v", ""},
		{"nightly", ""},
		{"v1.2.3-final", ""},
		{"v1.2.3\nName: other", ""},
		{"v1.2.3/../x", ""},
	} {
		got, err := publicVersion(tt.described)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%q: got %q, %v, want %q", tt.described, got, err, tt.want)
		}
	}
}

func TestAbsolute(t *testing.T) {
	text := "[a](targets.md) [b](../README.md#x) [c](https://d/e.md) [f](#g)"
	got := string(absolute([]byte(text), "docs"))
	want := "[a](" + source + "/blob/main/docs/targets.md) " +
		"[b](" + source + "/blob/main/README.md#x) [c](https://d/e.md) [f](#g)"
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// small is the source of a program; with these lines it uses the C library.
const (
	small  = "package main\n\nfunc main() {}\n"
	shared = "package main\n\nimport \"C\"\n\nfunc main() {}\n"
)

// build builds a program for a platform.
func build(t *testing.T, source, platform string, cgo bool) string {
	t.Helper()
	dir := t.TempDir()
	name := filepath.Join(dir, "main.go")
	if err := os.WriteFile(name, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	system, arch, _ := strings.Cut(platform, "/")
	cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "program"), name)
	cmd.Env = append(os.Environ(), "GOOS="+system, "GOARCH="+arch, "CGO_ENABLED=0", "GOFLAGS=")
	if cgo {
		cmd.Env = append(cmd.Env, "CGO_ENABLED=1")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("no program for %s: %v\n%s", platform, err, out)
	}
	return filepath.Join(dir, "program")
}

// here is this platform.
const here = runtime.GOOS + "/" + runtime.GOARCH

// makeWheel makes a wheel of a program, in the repository's root.
func makeWheel(t *testing.T, program, platform string) (string, error) {
	t.Helper()
	t.Chdir(filepath.Join("..", ".."))
	return run("v1.2.3", platform, t.TempDir(), program)
}

// contents returns the files of a wheel.
func contents(t *testing.T, name string) map[string][]byte {
	t.Helper()
	z, err := zip.OpenReader(name)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	files := map[string][]byte{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if files[f.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
		r.Close()
		want := os.FileMode(0o644)
		if strings.HasSuffix(f.Name, ".data/scripts/mitogen") {
			want = 0o755
		}
		if f.Mode() != want {
			t.Errorf("mode of %s: got %v, want %v", f.Name, f.Mode(), want)
		}
	}
	return files
}

// TestWheel looks into a wheel: the same twice, the program as it is, a record of every file, tags
// that are those of its name, and nothing at the top but the package.
func TestWheel(t *testing.T) {
	program := build(t, small, here, false)
	name, err := makeWheel(t, program, here)
	if err != nil {
		t.Fatal(err)
	}
	again, err := run("v1.2.3", here, t.TempDir(), program)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(read(t, name), read(t, again)) {
		t.Error("two wheels of one program: got different bytes, want the same")
	}
	files := contents(t, name)
	if !bytes.Equal(files["mitogo-1.2.3.data/scripts/mitogen"], read(t, program)) {
		t.Error("the program in the wheel is another one")
	}
	info := "mitogo-1.2.3.dist-info/"
	record := fits.Record(files[info+"RECORD"])
	for f, data := range files {
		sum := sha256.Sum256(data)
		want := "sha256=" + base64.RawURLEncoding.EncodeToString(sum[:])
		if f == info+"RECORD" {
			want = ""
		}
		if got, ok := record[f]; !ok || got != want {
			t.Errorf("record of %s: got %q, want %q", f, got, want)
		}
		top, _, _ := strings.Cut(f, "/")
		if !slices.Contains([]string{"mitogo", "mitogo-1.2.3.data", "mitogo-1.2.3.dist-info"}, top) {
			t.Errorf("got %s in the wheel, want the package and what describes it", f)
		}
	}
	if len(record) != len(files) {
		t.Errorf("record: got %d files, want %d", len(record), len(files))
	}
	var platforms []string
	for _, tag := range fits.Tags(files[info+"WHEEL"]) {
		platforms = append(platforms, tag.Platform)
		if tag.Python != "py3" || tag.ABI != "none" {
			t.Errorf("tag: got %v, want one of any Python 3", tag)
		}
	}
	want := "mitogo-1.2.3-py3-none-" + strings.Join(platforms, ".") + ".whl"
	if got := filepath.Base(name); got != want || !slices.IsSorted(platforms) {
		t.Errorf("name: got %s, want %s", got, want)
	}
	checkMetadata(t, files, info)
}

// checkMetadata demands that METADATA names exactly the licenses that the wheel has.
func checkMetadata(t *testing.T, files map[string][]byte, info string) {
	t.Helper()
	text := string(files[info+"METADATA"])
	for _, want := range []string{"Name: mitogo\n", "Version: 1.2.3\n", "Requires-Python: >=3.8\n",
		"License-Expression: BSD-3-Clause AND GPL-3.0-or-later\n", "License-File: LICENSE\n",
		"\n# Python programs\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("METADATA: got %s, want %q in it", text, want)
		}
	}
	found := 0
	for f := range files {
		if name, ok := strings.CutPrefix(f, info+"licenses/"); ok {
			found++
			if !strings.Contains(text, "License-File: "+name+"\n") {
				t.Errorf("METADATA: got no line for the license %s", name)
			}
		}
	}
	if n := strings.Count(text, "License-File: "); n != found || found < 2 {
		t.Errorf("licenses: got %d lines and %d files, want as many, and Go's among them", n, found)
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestLicenses demands that each module in a program has its license in the wheel, and that a
// module without a known one makes none.
func TestLicenses(t *testing.T) {
	program := build(t, small, here, false)
	known := licenses["std"]
	delete(licenses, "std")
	defer func() { licenses["std"] = known }()
	name, err := makeWheel(t, program, here)
	if err == nil || !strings.Contains(err.Error(), "license of std") {
		t.Errorf("a module whose license is not known: got %q, %v, want an error", name, err)
	}
	const modules = "{{with .Module}}{{.Path}}{{end}}"
	out, err := exec.Command("go", "list", "-deps", "-f", modules, "./cmd/mitogen").Output()
	if err != nil {
		t.Fatal(err)
	}
	for m := range strings.FieldsSeq(string(out)) {
		if licenses[m] == "" && m != "github.com/mitogen-go/mitogen" {
			t.Errorf("license of %s: got none, want it in tools/pywheel", m)
		}
	}
}

// TestRefused demands an error for a program that isn't what the tags of its wheel would say.
func TestRefused(t *testing.T) {
	static := build(t, small, "linux/amd64", false)
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ program, platform, want string }{
		{static, "linux/arm64", "got one for EM_X86_64"},
		{static, "darwin/arm64", "read program"},
		{static, "windows/amd64", "has no tags"},
		{static, "", "has no tags"},
		{text, "linux/amd64", "read program"},
		{text + "s", "linux/amd64", "no such file"},
	} {
		_, err := makeWheel(t, tt.program, tt.platform)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s for %s: got %v, want an error with %q", tt.program, tt.platform, err, tt.want)
		}
	}
	if runtime.GOOS == "linux" {
		_, err := makeWheel(t, build(t, shared, here, true), here)
		if err == nil || !strings.Contains(err.Error(), "shared libraries") {
			t.Errorf("a program with shared libraries: got %v, want an error", err)
		}
	}
}

// TestOldest demands that the tags for macOS promise what Go's programs run on.
func TestOldest(t *testing.T) {
	if testing.Short() {
		t.Skip("builds for another system")
	}
	program := build(t, small, "darwin/arm64", false)
	name, err := makeWheel(t, program, "darwin/arm64")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(name, "-py3-none-macosx_12_0_arm64.whl") {
		t.Errorf("got %s, want the tag of macOS 12", name)
	}
	data := read(t, program)
	for _, tag := range []string{"macosx_11_0_arm64", "macosx_13_0_arm64"} {
		if err := checkMachO(data, machines["arm64"].cpu, tag); err == nil {
			t.Errorf("%s: got no error, want one", tag)
		}
	}
	if err := checkMachO(data, machines["amd64"].cpu, "macosx_12_0_x86_64"); err == nil {
		t.Error("a program of another machine: got no error, want one")
	}
}

// TestPlatforms demands tags for each platform of the release list.
func TestPlatforms(t *testing.T) {
	text := string(read(t, filepath.Join("..", "..", "Makefile")))
	_, list, _ := strings.Cut(text, "\nPLATFORMS := ")
	list, _, _ = strings.Cut(list, "\n")
	all := strings.Fields(list)
	if len(all) != len(platforms) {
		t.Errorf("got tags for %d platforms, want %d", len(platforms), len(all))
	}
	for _, p := range all {
		if len(platforms[p]) == 0 || !slices.IsSorted(platforms[p]) {
			t.Errorf("%s: got tags %q, want some, sorted", p, platforms[p])
		}
		if name := fmt.Sprint(platforms[p]); len(name) > 200 {
			t.Errorf("%s: got tags of %d bytes, want a name that file systems take", p, len(name))
		}
	}
}
