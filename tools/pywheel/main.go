// Command pywheel makes a wheel of the Python package mitogo and of a program that was built for
// one platform. The same files make the same bytes.
//
//	pywheel -version VERSION -platform OS/ARCH [-o DIR] PROGRAM
//
// It is run in the root of the repository and prints the name of the file that it has written.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

func main() {
	version := flag.String("version", "", "`version`, as git describe prints it")
	platform := flag.String("platform", "", "`OS/ARCH` of the program, as Go names them")
	dir := flag.String("o", "dist", "`directory` to write the wheel to")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: pywheel -version VERSION -platform OS/ARCH [-o DIR] PROGRAM")
		os.Exit(2)
	}
	name, err := run(*version, *platform, *dir, flag.Arg(0))
	if err != nil {
		fmt.Fprintln(os.Stderr, "pywheel:", err)
		os.Exit(1)
	}
	fmt.Println(name)
}

// run writes the wheel of a program into dir and returns its name.
func run(version, platform, dir, program string) (string, error) {
	public, err := publicVersion(version)
	if err != nil {
		return "", err
	}
	data, err := os.ReadFile(program)
	if err != nil {
		return "", err
	}
	tags, err := platformTags(platform, data)
	if err != nil {
		return "", fmt.Errorf("%s: %w", program, err)
	}
	w := &wheel{version: public, tags: tags}
	licenses, err := w.addLicenses(data)
	if err != nil {
		return "", err
	}
	if err := w.addPackage(os.DirFS("pyapi")); err != nil {
		return "", err
	}
	w.add(w.stem()+".data/scripts/mitogen", data, 0o755)
	about, err := os.ReadFile(filepath.Join("docs", "python.md"))
	if err != nil {
		return "", err
	}
	w.add(w.info("METADATA"), metadata(public, licenses, absolute(about, "docs")), 0o644)
	w.add(w.info("WHEEL"), w.description(), 0o644)
	var b bytes.Buffer
	if err := w.write(&b); err != nil {
		return "", err
	}
	name := filepath.Join(dir, w.name())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return name, os.WriteFile(name, b.Bytes(), 0o644)
}

// addPackage adds what is Python's in files.
func (w *wheel) addPackage(files fs.FS) error {
	found := false
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		wanted := strings.HasSuffix(name, ".py") || path.Base(name) == "py.typed"
		if err != nil || d.IsDir() || !wanted {
			return err
		}
		b, err := fs.ReadFile(files, name)
		found = found || err == nil
		w.add(name, b, 0o644)
		return err
	})
	if err == nil && !found {
		err = errors.New("read pyapi: got no Python files, want some")
	}
	return err
}
