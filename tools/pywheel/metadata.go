package main

import (
	"bytes"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// source is the address of the repository.
const source = "https://github.com/mitogen-go/mitogen"

// licenses has the license of each module that a program may have in it, as SPDX names it. A
// program with another module makes no wheel: its license has to be read first.
var licenses = map[string]string{
	"std":                                  "BSD-3-Clause",
	"github.com/creack/pty":                "MIT",
	"github.com/inconshreveable/mousetrap": "Apache-2.0",
	"github.com/lmittmann/tint":            "MIT",
	"github.com/spf13/cobra":               "Apache-2.0",
	"github.com/spf13/pflag":               "BSD-3-Clause",
	"go.yaml.in/yaml/v4":                   "Apache-2.0 AND MIT",
	"golang.org/x/crypto":                  "BSD-3-Clause",
	"golang.org/x/sys":                     "BSD-3-Clause",
	"golang.org/x/term":                    "BSD-3-Clause",
}

// own are the licenses of this repository's own files: those that build on Ansible are under the
// GPL.
var own = []string{"BSD-3-Clause", "GPL-3.0-or-later"}

// classifiers are PyPI's words for what a package is.
var classifiers = []string{
	"Environment :: Console",
	"Intended Audience :: Developers",
	"Intended Audience :: System Administrators",
	"Operating System :: MacOS",
	"Operating System :: POSIX",
	"Programming Language :: Python :: 3",
	"Programming Language :: Python :: Implementation :: CPython",
	"Topic :: System :: Distributed Computing",
	"Topic :: System :: Systems Administration",
	"Typing :: Typed",
}

// terms are the licenses of a wheel.
type terms struct {
	expression string   // SPDX's
	files      []string // in licenses/
}

// addLicenses adds the license of the repository, and those of the modules in a program.
func (w *wheel) addLicenses(program []byte) (terms, error) {
	info, err := buildinfo.Read(bytes.NewReader(program))
	if err != nil {
		return terms{}, fmt.Errorf("read what the program was built from: %w", err)
	}
	root, err := output("go", "env", "GOROOT")
	if err != nil {
		return terms{}, err
	}
	places := map[string]string{".": ".", "std": root}
	for _, m := range info.Deps {
		if places[m.Path], err = output("go", "list", "-m", "-f", "{{.Dir}}", m.Path); err != nil {
			return terms{}, err
		}
	}
	names := slices.Clone(own)
	var files []string
	for module, dir := range places {
		if module != "." {
			if licenses[module] == "" {
				return terms{}, fmt.Errorf("license of %s: got none, want it in tools/pywheel", module)
			}
			names = append(names, strings.Split(licenses[module], " AND ")...)
		}
		found, err := w.copyLicense(module, dir)
		if err != nil {
			return terms{}, err
		}
		files = append(files, found...)
	}
	slices.Sort(names)
	slices.Sort(files)
	return terms{strings.Join(slices.Compact(names), " AND "), files}, nil
}

// copyLicense adds the files of a module that say what it may be passed on under.
func (w *wheel) copyLicense(module, dir string) (names []string, err error) {
	for _, pattern := range []string{"LICENSE*", "NOTICE*", "PATENTS*"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			b, err := os.ReadFile(f)
			if err != nil {
				return nil, err
			}
			name := path.Join(module, filepath.Base(f))
			if module != "." {
				name = path.Join("modules", name)
			}
			w.add(w.info("licenses/"+name), b, 0o644)
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("license of %s: got no file in %s", module, dir)
	}
	return names, nil
}

// output returns what a program prints.
func output(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}

// metadata returns the text of METADATA, version 2.4.
func metadata(version string, t terms, about []byte) []byte {
	text := "Metadata-Version: 2.4\nName: " + distribution + "\nVersion: " + version + "\n" +
		"Summary: Call Python functions on machines that hold only SSH or sudo, and some Python\n" +
		"Project-URL: Source, " + source + "\nKeywords: ssh,sudo,remote,asyncio\n" +
		"License-Expression: " + t.expression + "\n"
	for _, f := range t.files {
		text += "License-File: " + f + "\n"
	}
	for _, c := range classifiers {
		text += "Classifier: " + c + "\n"
	}
	text += "Requires-Python: >=3.8\n" +
		"Description-Content-Type: text/markdown; charset=UTF-8; variant=GFM\n\n"
	return append([]byte(text), about...)
}

var link = regexp.MustCompile(`\]\(([^)\s:#]+)(#[^)\s]*)?\)`)

// absolute returns a document of the repository's directory dir with links that work elsewhere.
func absolute(text []byte, dir string) []byte {
	return link.ReplaceAllFunc(text, func(whole []byte) []byte {
		m := link.FindSubmatch(whole)
		return fmt.Appendf(nil, "](%s/blob/main/%s%s)", source, path.Join(dir, string(m[1])), m[2])
	})
}
