package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen"
	_ "github.com/mitogen-go/mitogen/internal/testenv"
)

func TestMain(m *testing.M) {
	mitogen.Main()
	os.Exit(m.Run())
}

func TestReport(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lines")
	for text, want := range map[string]string{
		"one\ntwo\n": ", 2 lines in " + path + "\n",
		"":           ": nothing in " + path + "\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := report(t.Context(), &out, path, []string{"local", "local+local"}); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(out.String(), want); n != 2 {
			t.Errorf("got %d lines with %q, want 2:\n%s", n, want, out.String())
		}
	}
}
