package cli

import (
	"archive/zip"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAgentVersion(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "mitogen-agent": "", "mitogen-agent/": "", "mitogen-agent//": "",
		"x mitogen-agent/v1.2.3/ y":                                "v1.2.3",
		"mitogen-agent/%s\n/ mitogen-agent/v1/":                    "v1",
		"mitogen-agent/" + strings.Repeat("v", maxVersion+1) + "/": "",
		"mitogen-agent/v\x1b[2J/":                                  "",
	} {
		if got := agentVersion([]byte(text)); got != want {
			t.Errorf("version in %q: got %q, want %q", text, got, want)
		}
	}
}

// What a program carries is taken, unless it is of another version. A program that carries nothing
// has no agent, which is no error of its own.
func TestCarriedAgent(t *testing.T) {
	var b bytes.Buffer
	b.WriteString("a program") // before the zip file
	z := zip.NewWriter(&b)
	z.SetOffset(int64(b.Len()))
	good := agentStamp + versionText() + "/"
	for name, text := range map[string]string{"linux-arm64": good, "linux-arm": agentStamp + "v0.0.1/",
		"linux-386": "nothing"} {
		f, err := z.Create(carriedAgents + name)
		if err != nil {
			t.Fatal(err)
		}
		f.Write([]byte(text))
	}
	z.Close()
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, b.Bytes(), 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := carriedAgent(program, "linux", "arm64"); string(got) != good || err != nil {
		t.Errorf("linux/arm64: got %q, %v, want %q", got, err, good)
	}
	if _, err := carriedAgent(program, "linux", "s390x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("linux/s390x: got %v, want %v", err, fs.ErrNotExist)
	}
	for arch, want := range map[string]string{"arm": "is of version v0.0.1, this program of",
		"386": "is no mitogen-agent"} {
		if _, err := carriedAgent(program, "linux", arch); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("linux/%s: got %v, want what has %q", arch, err, want)
		}
	}
	if err := os.WriteFile(program, []byte("a program"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := carriedAgent(program, "linux", "arm64"); !errors.Is(err, zip.ErrFormat) {
		t.Errorf("program without a zip file: got %v, want %v", err, zip.ErrFormat)
	}
}
