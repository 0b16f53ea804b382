// Command gen makes what package boot embeds from the runtime's readable source in python/: image.bin, the core
// minified and compressed, and modules/, the rest minified. Run it by `go generate ./internal/boot` or
// `make generate`.
package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"github.com/mitogen-go/mitogen/internal/pysource"
)

// core is the source of the image; modules are those of boot.Module, by the name they are imported by. A module is made of
// several sources, in their order, so that it costs one message.
const core = "core.py"

var modules = map[string][]string{
	"_mitogen_ansible.py": {"paths.py", "ansible.py"},
	"_mitogen_asking.py":  {"asking.py"},
	"_mitogen_files.py":   {"files.py"},
	"_mitogen_forward.py": {"forward.py"},
	"_mitogen_guard.py":   {"process.py", "guard.py"},
	"_mitogen_paths.py":   {"paths.py", "replace.py"},
	"_mitogen_run.py":     {"run.py"},
	"_mitogen_spawn.py":   {"process.py", "spawn.py"},
	"_mitogen_tunnel.py":  {"tunnel.py"},
	"mitogen.py":          {"mitogen.py"},
}

// smallest leaves what an interpreter needs, and the names: a traceback of the runtime stays readable.
var smallest = pysource.Options{DropLines: true, Reindent: true, Tight: true}

func main() {
	if err := generate("../../python", "."); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// generate writes the files that package boot, which lies in dir, embeds.
func generate(python, dir string) error {
	files, err := build(python)
	if err != nil {
		return err
	}
	image := squeeze(files[core])
	if err := os.WriteFile(filepath.Join(dir, "image.bin"), image, 0o644); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "modules"), 0o755); err != nil {
		return err
	}
	for name := range modules {
		if err := os.WriteFile(filepath.Join(dir, "modules", name), files[name], 0o644); err != nil {
			return err
		}
	}
	return nil
}

// build returns the minified text of the core, under its own name, and of the modules.
func build(python string) (map[string][]byte, error) {
	files := map[string][]byte{}
	sources := maps.Clone(modules)
	sources[core] = []string{core}
	for name, all := range sources {
		for _, source := range all {
			text, err := os.ReadFile(filepath.Join(python, source))
			if err != nil {
				return nil, fmt.Errorf("read runtime: %w", err)
			}
			small, err := pysource.Minify(text, smallest)
			if err != nil {
				return nil, fmt.Errorf("minify %s: %w", source, err)
			}
			files[name] = append(files[name], small...)
		}
	}
	return files, nil
}
