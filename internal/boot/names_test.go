package boot

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What runs in the namespace of the core must not take each other's names, but for cut_off, which
// is for being taken.
func TestNamesDontClash(t *testing.T) {
	global := regexp.MustCompile(`(?m)^(?:(?:def|class) (\w+)|([A-Za-z_]\w*) = )`)
	whose := map[string]string{}
	for _, file := range []string{
		"core/compat.py", "core/constants.py", "core/state.py", "core/descriptors.py",
		"core/atomic.py", "core/streams.py", "core/reader.py", "core/output.py", "core/dispatch.py",
		"core/handlers.py", "core/plain.py", "core/calls.py", "core/serving.py", "core/ending.py",
		"core/modules.py", "core/importer.py", "core/log.py", "core/tables.py", "core/start.py",
		"core/main.py",
		"ansible.py", "asking.py", "execute.py", "fan.py", "feed.py", "fork.py", "forward.py", "lacks.py",
		"guard.py", "job.py",
		"module.py", "native.py",
		"paths.py", "payload.py", "process.py", "replace.py", "session.py", "sockets_stream.py",
		"sockets_listen.py", "sockets.py",
		"child_start.py", "child.py", "spawn.py", "tunnel.py", "values.py", "watch.py", "memory.py",
		"golang.py",
	} {
		text, err := os.ReadFile("../../python/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range global.FindAllSubmatch(text, -1) {
			name := string(m[1]) + string(m[2])
			if other := whose[name]; other != "" && other != file && name != "cut_off" {
				t.Errorf("%s is a name in %s and in %s", name, other, file)
			}
			whose[name] = file
		}
		for _, m := range regexp.MustCompile(`(?m)^\((\w+(?:, \w+)*)\) = `).FindAllSubmatch(text, -1) {
			for _, name := range regexp.MustCompile(`\w+`).FindAllString(string(m[1]), -1) {
				if other := whose[name]; other != "" && other != file {
					t.Errorf("%s is a name in %s and in %s", name, other, file)
				}
				whose[name] = file
			}
		}
	}
	if len(whose) < 150 {
		t.Errorf("%d names found", len(whose))
	}
}

// No function is defined twice in a file, and what is shared is used by all that it is sent with.
func TestFunctionsAreDefinedOnce(t *testing.T) {
	function := regexp.MustCompile(`(?m)^def (\w+)\(`)
	files, err := filepath.Glob("../../python/*.py")
	core, _ := filepath.Glob("../../python/core/*.py")
	files = append(files, core...)
	if err != nil || len(files) < 20 {
		t.Fatalf("got %d files, %v, want all", len(files), err)
	}
	texts := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts[filepath.Base(file)] = string(text)
		seen := map[string]bool{}
		for _, m := range function.FindAllStringSubmatch(string(text), -1) {
			if seen[m[1]] {
				t.Errorf("%s: %s is defined twice", file, m[1])
			}
			seen[m[1]] = true
		}
	}
	for _, m := range function.FindAllStringSubmatch(texts["process.py"], -1) {
		used := regexp.MustCompile(`\b`+m[1]+`\(`).FindAllString(
			texts["process.py"]+texts["run_relay.py"]+texts["run_copy.py"], -1)
		if len(used) < 2 {
			t.Errorf("process.py: %s isn't used by run_relay.py or run_copy.py", m[1])
		}
	}
}

// No class uses one name for a method and for a value.
func TestMethodsDontClash(t *testing.T) {
	class := regexp.MustCompile(`(?m)^class .*\n(?:(?: .*)?\n)*`)
	method := regexp.MustCompile(`(?m)^    def (\w+)\(`)
	value := regexp.MustCompile(`(?m)(?:^    |\bself\.)(\w+) = `)
	seen := 0
	for _, file := range []string{"core/streams.py", "core/importer.py",
		"core/plain.py", "core/descriptors.py", "core/log.py", "asking.py", "forward.py", "child.py",
		"tunnel.py", "feed.py", "session.py", "sockets_stream.py",
		"sockets_listen.py", "sockets.py", "ansible.py",
		"job.py", "module.py", "payload.py", "run_relay.py", "run_copy.py", "run.py",
		"files_ask.py", "files_index.py", "files_content.py", "files.py", "values.py", "golang.py"} {
		text, err := os.ReadFile("../../python/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, body := range class.FindAllString(string(text), -1) {
			methods := map[string]bool{}
			for _, m := range method.FindAllStringSubmatch(body, -1) {
				methods[m[1]] = true
				seen++
			}
			for _, m := range value.FindAllStringSubmatch(body, -1) {
				if methods[m[1]] {
					t.Errorf("%s: %s is a method and a value in %.20q", file, m[1], body)
				}
			}
		}
	}
	if seen < 100 {
		t.Errorf("got %d methods, want all", seen)
	}
}

// A program's process is a copy of its context (run_copy.py): it must begin without what the
// modules of the runtime that handle frames have under way. They tell in TABLES what that is.
func TestTablesAreEmptiedInCopies(t *testing.T) {
	table := regexp.MustCompile(`(?m)^([A-Z_]+) = (?:\[\]|\{\})`)
	listed := regexp.MustCompile(`(?m)^TABLES \+= (.*)$`)
	stays := map[string]bool{"CORE": true, "SERVICES": true} // code
	for _, file := range []string{"fan.py", "lacks.py", "session.py", "spawn.py", "tunnel.py"} {
		text, err := os.ReadFile("../../python/" + file)
		if err != nil {
			t.Fatal(err)
		}
		emptied := map[string]bool{}
		for _, m := range listed.FindAllSubmatch(text, -1) {
			for _, name := range regexp.MustCompile(`\w+`).FindAll(m[1], -1) {
				emptied[string(name)] = true
			}
		}
		for _, m := range table.FindAllSubmatch(text, -1) {
			if name := string(m[1]); !emptied[name] && !stays[name] {
				t.Errorf("%s: %s is not in TABLES, want each table there", file, name)
			}
		}
		if len(emptied) == 0 {
			t.Errorf("%s: got no TABLES", file)
		}
	}
}

// The core's files are short, all are linked, and an import in one names what the runtime binds: a
// global of its namespace, a module or class that compat.py imports, or what the head sets.
func TestCoreFiles(t *testing.T) {
	files, err := filepath.Glob("../../python/core/*.py")
	if err != nil || len(files) < 15 {
		t.Fatalf("got %d files, %v, want all", len(files), err)
	}
	linked := map[string]bool{}
	for _, p := range Table().Parts["_mitogen"] {
		linked[p.Source] = true
	}
	imports := regexp.MustCompile(`(?m)^from _mitogen import (\([^)]*\)|[^(\n]*)$`)
	word := regexp.MustCompile(`\w+`)
	texts := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), "\n"); n > 250 {
			t.Errorf("%s: got %d lines, want at most 250", file, n)
		}
		if name := "core/" + filepath.Base(file); !linked[name] {
			t.Errorf("%s is not linked, want all files in internal/boot/gen/rules.go", name)
		}
		texts[file] = string(text)
	}
	if len(linked) != len(files) {
		t.Errorf("got %d linked files, want %d", len(linked), len(files))
	}
	known := " C IMAGE AHEAD NAME PARENTS " // set by the head, or kept for tests
	compat := regexp.MustCompile(`(?m)^ *(?:import|from \w+ import) (?:\w+ as )?(.*)$`)
	for _, m := range compat.FindAllStringSubmatch(texts["../../python/core/compat.py"], -1) {
		known += strings.Join(word.FindAllString(m[1], -1), " ") + " "
	}
	for file, text := range texts {
		for _, lines := range imports.FindAllStringSubmatch(text, -1) {
			for _, name := range word.FindAllString(lines[1], -1) {
				if _, ok := Table().Globals[name]; !ok && !strings.Contains(known, " "+name+" ") {
					t.Errorf("%s imports %s, want a name that the runtime binds", file, name)
				}
			}
		}
	}
}

// Each line of the text that is sent is shown as a line of the file that has it.
func TestReadableNamesCoreFiles(t *testing.T) {
	line := 1
	for _, p := range Table().Parts["_mitogen"] {
		text, err := os.ReadFile("../../python/" + p.Source)
		if err != nil {
			t.Fatal(err)
		}
		source := strings.Split(string(text), "\n")
		for _, n := range p.Lines {
			got := Table().Readable(fmt.Sprintf(`File "<_mitogen>", line %d`, line))
			if want := fmt.Sprintf(`File "python/%s", line %d`, p.Source, n); got != want {
				t.Errorf("line %d: got %s, want %s", line, got, want)
			}
			if n < 1 || n > len(source) || strings.TrimSpace(source[n-1]) == "" {
				t.Errorf("%s: got line %d, want one with code", p.Source, n)
			}
			line++
		}
	}
	if n := bytes.Count(Source(), []byte("\n")); n != line-1 {
		t.Errorf("got %d lines in the table, want %d", line-1, n)
	}
}
