// Command sbom writes what a program of Go was made of, as a CycloneDX document in JSON: its
// modules with their checksums, the release of Go, and the settings of the build. The same program
// always gives the same text.
//
//	go run ./tools/sbom PROGRAM
package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: sbom PROGRAM")
		os.Exit(2)
	}
	if err := write(os.Stdout, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

// document is a bill of materials; the names are CycloneDX's.
type document struct {
	Format       string       `json:"bomFormat"`
	Spec         string       `json:"specVersion"`
	Serial       string       `json:"serialNumber"`
	Version      int          `json:"version"`
	Metadata     metadata     `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type metadata struct {
	Component component `json:"component"`
}

type component struct {
	Type       string     `json:"type"`
	Ref        string     `json:"bom-ref"`
	Name       string     `json:"name"`
	Version    string     `json:"version,omitempty"`
	Package    string     `json:"purl,omitempty"`
	Hashes     []hash     `json:"hashes,omitempty"`
	Properties []property `json:"properties,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type dependency struct {
	Ref string   `json:"ref"`
	On  []string `json:"dependsOn"`
}

func write(w io.Writer, name string) error {
	info, err := buildinfo.ReadFile(name)
	if err != nil {
		return fmt.Errorf("read build information: %w", err)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(b)
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(describe(info, filepath.Base(name), sum))
}

func describe(info *debug.BuildInfo, name string, sum [sha256.Size]byte) document {
	main := component{Type: "application", Ref: "program", Name: name, Version: info.Main.Version,
		Package: packageURL(&info.Main),
		Hashes:  []hash{{"SHA-256", hex.EncodeToString(sum[:])}}}
	for _, s := range info.Settings {
		main.Properties = append(main.Properties, property{"go:build:" + s.Key, s.Value})
	}
	d := document{Format: "CycloneDX", Spec: "1.5", Serial: serial(sum), Version: 1,
		Metadata: metadata{main}}
	d.add(component{Type: "framework", Ref: "go", Name: "go",
		Version: strings.TrimPrefix(info.GoVersion, "go"),
		Package: "pkg:golang/std@" + strings.TrimPrefix(info.GoVersion, "go")})
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		c := component{Type: "library", Ref: packageURL(m), Name: m.Path, Version: m.Version,
			Package: packageURL(m)}
		if m.Sum != "" {
			c.Properties = []property{{"go:sum", m.Sum}}
		}
		d.add(c)
	}
	return d
}

// add adds what the program depends on.
func (d *document) add(c component) {
	d.Components = append(d.Components, c)
	if d.Dependencies == nil {
		d.Dependencies = []dependency{{Ref: "program"}}
	}
	d.Dependencies[0].On = append(d.Dependencies[0].On, c.Ref)
}

func packageURL(m *debug.Module) string { return "pkg:golang/" + m.Path + "@" + m.Version }

// serial makes the number of a document from its program, so that it says the same of the same
// program.
func serial(sum [sha256.Size]byte) string {
	b := sum[:16]
	b[6], b[8] = b[6]&0x0f|0x80, b[8]&0x3f|0x80 // of version 8: made as one likes
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
