package main

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	_ "github.com/mitogen-go/mitogen/internal/testenv"
)

// The document names what the build information names, and the same program gives the same one.
func TestDescribe(t *testing.T) {
	info := &debug.BuildInfo{GoVersion: "go1.26.8",
		Main: debug.Module{Path: "example.com/main", Version: "v1.2.3"},
		Deps: []*debug.Module{
			{Path: "example.com/a", Version: "v0.1.0", Sum: "h1:aaaa"},
			{Path: "example.com/old", Version: "v0.2.0",
				Replace: &debug.Module{Path: "example.com/new", Version: "v0.3.0", Sum: "h1:bbbb"}},
		},
		Settings: []debug.BuildSetting{{Key: "-trimpath", Value: "true"}}}
	b, err := json.Marshal(describe(info, "main", sha256.Sum256([]byte("program"))))
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, want := range []string{`"bomFormat":"CycloneDX"`, `"specVersion":"1.5"`,
		`"purl":"pkg:golang/example.com/main@v1.2.3"`,
		`"purl":"pkg:golang/example.com/a@v0.1.0"`, `"value":"h1:aaaa"`,
		`"purl":"pkg:golang/example.com/new@v0.3.0"`,
		`"purl":"pkg:golang/std@1.26.8"`, `"name":"go:build:-trimpath"`} {
		if !strings.Contains(text, want) {
			t.Errorf("got %s, want %s in it", text, want)
		}
	}
	if strings.Contains(text, "example.com/old") {
		t.Error("a module that was replaced is named")
	}
	if n := len(describe(info, "main", sha256.Sum256(nil)).Dependencies[0].On); n != 3 {
		t.Errorf("got %d dependencies, want 3", n)
	}
}

// A program's modules are those that go version -m prints.
func TestWrite(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var first, again bytes.Buffer
	if err := write(&first, program); err != nil {
		t.Fatal(err)
	}
	if err := write(&again, program); err != nil || first.String() != again.String() {
		t.Errorf("the second document of one program is another one: %v", err)
	}
	var d document
	if err := json.Unmarshal(first.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	if got := d.Metadata.Component.Hashes[0].Content; got != hex.EncodeToString(sum[:]) {
		t.Errorf("checksum of the program: got %s, want %x", got, sum)
	}
	serial := regexp.MustCompile(`^urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	if !serial.MatchString(d.Serial) {
		t.Errorf("serial number: got %s", d.Serial)
	}
	if err := write(&first, "main.go"); err == nil {
		t.Error("a text: got no error")
	}
}

// A release is the same in two directories, and says what is in it.
func TestRelease(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	const version = "v0.1.0-rc.1"
	out, own := t.TempDir(), runtime.GOOS+"/"+runtime.GOARCH
	cmd := exec.Command("../../scripts/release.sh")
	cmd.Env = append(os.Environ(), "OUT="+out, "PLATFORMS="+own, "AGENT_PLATFORMS="+own,
		"CARRIED="+own, "VERSION="+version, "FRESH=", "VULN=skip")
	text, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("release: %v\n%s", err, text)
	}
	name := "mitogen-" + version + "-" + runtime.GOOS + "-" + runtime.GOARCH
	sums, err := os.ReadFile(filepath.Join(out, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	wheels, err := filepath.Glob(filepath.Join(out, "mitogo-0.1.0rc1-py3-none-*.whl"))
	if err != nil || len(wheels) != 1 {
		t.Fatalf("wheels: got %q, %v, want one", wheels, err)
	}
	agent := "mitogen-agent-" + version + "-" + runtime.GOOS + "-" + runtime.GOARCH
	for _, want := range []string{name, agent, agent + ".cdx.json",
		filepath.Base(wheels[0]), name + ".cdx.json",
		"runtime/image.bin", "runtime/_mitogen_spawn.py", "plugin/connection.py"} {
		line := regexp.MustCompile(`(?m)^([0-9a-f]{64})  ` + regexp.QuoteMeta(want) +
			`$`).FindSubmatch(sums)
		if line == nil {
			t.Errorf("no checksum of %s in\n%s", want, sums)
			continue
		}
		if b, err := os.ReadFile(filepath.Join(out, want)); err == nil {
			if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != string(line[1]) {
				t.Errorf("checksum of %s: got %s, want %x", want, line[1], sum)
			}
		} else if strings.HasPrefix(want, "mito") {
			t.Error(err)
		}
	}
	said, err := exec.Command(filepath.Join(out, name), "version").Output()
	if err != nil || !strings.Contains(string(said), version) {
		t.Errorf("version: got %q, %v, want %s", said, err, version)
	}
	if b, _ := os.ReadFile(filepath.Join(out, name)); bytes.Contains(b, []byte(mustAbs(t, "../.."))) {
		t.Error("the program has the path of its source in it")
	}
	carriesAgent(t, filepath.Join(out, name), filepath.Join(out, agent), version)
}

// carriesAgent holds a program to what it carries: the agent, of its own version.
func carriesAgent(t *testing.T, program, agent, version string) {
	t.Helper()
	want, err := os.ReadFile(agent)
	if err != nil {
		t.Fatal(err)
	}
	z, err := zip.OpenReader(program)
	if err != nil {
		t.Fatalf("zip file behind the program: %v", err)
	}
	defer z.Close()
	f, err := z.Open("mitogen_agents/" + runtime.GOOS + "-" + runtime.GOARCH)
	if err != nil {
		t.Fatalf("agent in the program: %v", err)
	}
	defer f.Close()
	if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, want) {
		t.Errorf("agent in the program: got %d bytes, %v, want the %d of %s", len(got), err, len(want),
			agent)
	}
	said, err := exec.Command(agent).CombinedOutput()
	if err == nil || !strings.Contains(string(said), "mitogen-agent "+version+":") {
		t.Errorf("agent called by hand: got %q, %v, want its version and a status", said, err)
	}
	if bytes.Contains(want, []byte(mustAbs(t, "../.."))) {
		t.Error("the agent has the path of its source in it")
	}
}

func mustAbs(t *testing.T, name string) string {
	t.Helper()
	abs, err := filepath.Abs(name)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

// A database that can't be reached is no failure, unless the caller says so; it is told in either
// case.
func TestVulnerabilities(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	for _, must := range []string{"", "must"} {
		cmd := exec.Command("../../scripts/vuln.sh", "./internal/lazyregexp") // which is small
		cmd.Env = append(os.Environ(), "VULN="+must, "GOVULNDB=https://127.0.0.1:1")
		text, err := cmd.CombinedOutput()
		if (err != nil) != (must != "") || !strings.Contains(string(text), "NOTHING WAS CHECKED") {
			t.Errorf("VULN=%s: got %v, want an error: %v\n%s", must, err, must != "", text)
		}
	}
}
