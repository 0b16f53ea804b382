package pysource

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// corpus returns the modules that lie directly in some Python's standard library, some MB.
func corpus(b *testing.B) [][]byte {
	b.Helper()
	out, err := exec.Command("python3", "-c",
		"import os; print(os.path.dirname(os.__file__))").Output()
	if err != nil {
		b.Skip("no python3")
	}
	names, _ := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "*.py"))
	var files [][]byte
	for _, name := range names {
		if src, err := os.ReadFile(name); err == nil {
			files = append(files, src)
		}
	}
	return files
}

func benchmark(b *testing.B, run func(src []byte) error) {
	files, size := corpus(b), 0
	for _, src := range files {
		size += len(src)
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		for _, src := range files {
			if err := run(src); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkTokens(b *testing.B) {
	benchmark(b, func(src []byte) error { _, err := Tokens(src); return err })
}

func BenchmarkScan(b *testing.B) {
	benchmark(b, func(src []byte) error { _, err := Scan(src); return err })
}

func BenchmarkMinify(b *testing.B) {
	benchmark(b, func(src []byte) error { _, err := Minify(src, Options{}); return err })
}

func BenchmarkRead(b *testing.B) {
	benchmark(b, func(src []byte) error { _, _, err := Read(src, Options{}); return err })
}
