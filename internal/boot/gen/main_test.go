package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/pylink"
)

// TestFresh fails when python/ was changed and what boot embeds wasn't. Texts are compared, because
// another version of Go may compress otherwise.
func TestFresh(t *testing.T) {
	want, err := link("../../../python")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range want.Texts {
		got, ok := boot.Module(name)
		if name == core {
			got, ok = boot.Source(), true
		}
		if !ok || !bytes.Equal(got, text) {
			t.Errorf("%s is stale (embedded: %v): run `make generate`", name, ok)
		}
	}
	if got := boot.Modules(); len(got) != len(modules)-1 {
		t.Errorf("embedded modules: got %q, want %d", got, len(modules)-1)
	}
	if !reflect.DeepEqual(boot.Table(), &want.Names) {
		t.Error("the table of names is stale: run `make generate`")
	}
}

// TestGenerate writes into a new directory and finds there what was linked.
func TestGenerate(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "runtime.bin")
	if err := generate("../../../python", file); err != nil {
		t.Fatal(err)
	}
	packed, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	line, data, _ := bytes.Cut(packed, []byte("\n"))
	var parts []part
	if err := json.Unmarshal(line, &parts); err != nil {
		t.Fatal(err)
	}
	size := 0
	for _, p := range parts {
		size += p.Size
	}
	if size != len(data) || len(parts) != len(modules)+1 {
		t.Errorf("runtime.bin: got %d parts of %d bytes, want %d of %d", len(parts), size,
			len(modules)+1, len(data))
	}
	if err := generate(dir, file); err == nil {
		t.Error("a directory without sources: got no error, want one")
	}
}

// TestOwners changes the runtime so that two sources claim one place, many times. The generator
// refuses each, and names both.
func TestOwners(t *testing.T) {
	tests := []struct{ file, text, entry, other string }{
		{"files.py", "core.HANDLERS[1000] = answered", "HANDLERS[1000]", "core/dispatch.py"},
		{"spawn.py", "DUE[0] = run_timers", "DUE[0]", "core/tables.py"},
		{"tunnel.py", "HANDLERS[CALL] = on_open", "HANDLERS[1]", "core/tables.py"},
		{"sockets.py", "HANDLERS.update({CONNECT: ring})", "HANDLERS[6]", "spawn.py"},
		{"run.py", "core.HANDLERS[15] = cancel", "HANDLERS[15]", "session.py"},
		{"ansible.py", "PASSES[CALL] = f", "PASSES[1]", "spawn.py"},
		{"ansible.py", "SERVICES['sockets'] = f", "SERVICES[sockets]", "sockets.py"},
		{"asking.py", "HOOKABLE['logging'] = f", "HOOKABLE[logging]", "core/tables.py"},
		{"asking.py", "DUE.append(run_clock)", "the entry run_clock of DUE", "session.py"},
		{"asking.py", "LEAVE.append(leave_children)", "the entry leave_children", "spawn.py"},
		{"mitogen.py", "core.LEAVE.append(core.leave_tunnels)", "leave_tunnels", "tunnel.py"},
		{"keep.py", "core.LEAVE[:] = []", "LEAVE[:]", "session.py"},
		{"native.py", "USES.append(SESSIONS)", "the entry SESSIONS of USES", "session.py"},
		{"lacks.py", "TABLES += WORK,", "the entry WORK of TABLES", "spawn.py"},
		{"native.py", "COMES.append(bring)", "the entry bring of COMES", "forward.py"},
		{"feed.py", "DUE.append(fed)", "the entry fed of DUE", "_mitogen_tunnel"},
	}
	_, err := pylink.Link(modules, rules, func(name string) ([]byte, error) {
		text, err := os.ReadFile(filepath.Join("../../../python", name))
		for _, tt := range tests {
			if name == tt.file {
				text = append(text, tt.text+"\n"...)
			}
		}
		return text, err
	})
	if err == nil {
		t.Fatal("got no error, want one for each")
	}
	lines := strings.Split(err.Error(), "\n")
	for _, tt := range tests {
		if !slices.ContainsFunc(lines, func(line string) bool {
			return strings.Contains(line, tt.file+":") && strings.Contains(line, tt.entry) &&
				strings.Contains(line, tt.other)
		}) {
			t.Errorf("%s with %s: got no error that names %s and %s, in\n%v", tt.file, tt.text,
				tt.file, tt.other, err)
		}
	}
}

// TestUnpack writes each module to a file.
func TestUnpack(t *testing.T) {
	dir := t.TempDir()
	if err := write("../../../python", dir); err != nil {
		t.Fatal(err)
	}
	image, err := os.ReadFile(filepath.Join(dir, "image.bin"))
	if err != nil || !bytes.Equal(image, boot.Image()) {
		t.Errorf("image.bin: got %d bytes, %v, want what is embedded", len(image), err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != len(modules) {
		t.Errorf("got %d files, %v, want %d", len(files), err, len(modules))
	}
}
