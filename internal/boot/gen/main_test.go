package main

import (
	"bytes"
	"compress/zlib"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// TestFresh fails when python/ was changed and what boot embeds wasn't. The image is compared decompressed:
// another version of Go may compress otherwise.
func TestFresh(t *testing.T) {
	want, err := build("../../../python")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]byte{core: inflate(t, "../image.bin")}
	for name := range modules {
		if got[name], err = os.ReadFile(filepath.Join("../modules", name)); err != nil {
			t.Error(err)
		}
	}
	for name := range want {
		if !bytes.Equal(got[name], want[name]) {
			t.Errorf("%s is stale: run `make generate`", name)
		}
	}
	extra, err := os.ReadDir("../modules")
	if err != nil || len(extra) != len(modules) {
		t.Errorf("modules/ has %d files, want %d (%v)", len(extra), len(modules), err)
	}
}

// TestGenerate writes into a new directory and finds there what build made.
func TestGenerate(t *testing.T) {
	dir := t.TempDir()
	if err := generate("../../../python", dir); err != nil {
		t.Fatal(err)
	}
	want, err := build("../../../python")
	if err != nil {
		t.Fatal(err)
	}
	if got := inflate(t, filepath.Join(dir, "image.bin")); !bytes.Equal(got, want[core]) {
		t.Error("the image isn't the minified core")
	}
	if err := generate(dir, dir); err == nil {
		t.Error("no error for a directory without sources")
	}
}

func inflate(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	r, err := zlib.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
