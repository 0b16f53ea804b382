package boot

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A target with Python pays some bytes of the first command line, and nothing where no fallback is
// wanted.
func TestFallbackCommandSize(t *testing.T) {
	size := func(argv []string) int { return len(strings.Join(argv, " ")) }
	argv, ok := FallbackCommand(nil, Ahead)
	if got, most := size(argv)-size(Command(nil, Ahead)), 28; !ok || got > most {
		t.Errorf("got %d more bytes, %v, want at most %d", got, ok, most)
	}
	if argv, ok := FallbackCommand([]string{"env python3"}, Pipe); ok {
		t.Errorf("a candidate of two words: got %q, want none", argv)
	}
	if argv, ok := FallbackCommand(nil, Terminal); ok {
		t.Errorf("a terminal: got %q, want none", argv)
	}
}

// The shell evaluates lines that begin with MITO, and those of head and image don't.
func TestImageHasNoShellLine(t *testing.T) {
	config := Config{ID: 1, Parents: []uint32{0}, Name: "a\nMITO;echo"}
	text := append(Head(config, len(Image())), Image()...)
	if bytes.HasPrefix(text, []byte("MITO")) || bytes.Contains(text, []byte("\nMITO")) {
		t.Error("head or image has a line that begins with MITO")
	}
}

// Read without -r takes backslashes off, and the script is one line.
func TestFallbackLine(t *testing.T) {
	for _, way := range []Way{Pipe, Ahead} {
		line := FallbackLine(way)
		text := strings.TrimLeft(string(line), "\n")
		if strings.Count(text, "\n") != 1 || strings.ContainsAny(text, "\\#") {
			t.Errorf("way %d: got %q, want one line without backslash and comment", way, line)
		}
		if bytes.Equal(line, FallbackLine(way)) {
			t.Errorf("way %d: two lines have the same name for the file", way)
		}
	}
}

// Only whole lines of the script are read.
func TestParseShell(t *testing.T) {
	good := Shell{"Linux", "x86_64", "gzip", "head", "ready"}
	if got, ok := ParseShell("MITO-GO|Linux|x86_64|gzip|head|ready\n"); !ok || got != good {
		t.Errorf("got %v, %v, want %v", got, ok, good)
	}
	for _, line := range []string{"", "MITO-GO", "MITO-GO|a|b|c|d\n", "MITO-GO|a|b|c|d|e|f\n",
		"x MITO-GO|Linux|x86_64|gzip|head|ready\n"} {
		if got, ok := ParseShell(line); ok {
			t.Errorf("%q: got %v, want none", line, got)
		}
	}
	for place, want := range map[string]error{"proc": errNoProc, "noexec": errNoExec,
		"place": errNoPlace, "": errNoPlace, "ready": nil} {
		s := good
		if s.Place = place; !errors.Is(s.Lacks(), want) {
			t.Errorf("%q: got %v, want %v", place, s.Lacks(), want)
		}
	}
	s := good
	if s.Reader = "none"; !errors.Is(s.Lacks(), errNoReader) {
		t.Errorf("no reader: got %v, want %v", s.Lacks(), errNoReader)
	}
}

// shells are those of this machine that a target may have as its sh.
func shells() [][]string {
	var all [][]string
	for _, argv := range [][]string{{"sh"}, {"dash"}, {"bash"}, {"bash", "--posix"},
		{"busybox", "sh"}, {"mksh"}, {"ksh"}, {"yash"}, {"zsh", "--emulate", "sh"}} {
		if path, err := exec.LookPath(argv[0]); err == nil {
			all = append(all, append([]string{path}, argv[1:]...))
		}
	}
	return all
}

// tools returns a directory with links to programs.
func tools(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err == nil {
			err = os.Symlink(path, filepath.Join(dir, name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// fallenBack runs the command in a shell that finds no interpreter, and has program go there. It
// returns what the shell has said of itself, and what the program prints.
func fallenBack(t *testing.T, shell []string, way Way, path, program string) (Shell, string) {
	t.Helper()
	argv, _ := FallbackCommand([]string{"no-such-python"}, way)
	cmd := exec.Command(shell[0], append(shell[1:], argv[1:]...)...)
	cmd.Env = append(os.Environ(), "PATH="+path)
	cmd.Dir = t.TempDir()
	var errs bytes.Buffer
	cmd.Stderr = &errs
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close()
	if way == Pipe {
		in.Write(append(Head(Config{ID: 1, Parents: []uint32{0}}, len(Image())), Image()...))
		io.WriteString(in, "\xe2") // begins a character
	}
	in.Write(FallbackLine(way))
	r := bufio.NewReader(out)
	for {
		line, err := r.ReadString('\n')
		shell, ok := ParseShell(line)
		switch {
		case ok && shell.Lacks() != nil:
			return shell, ""
		case ok:
			in.Write(sentTo(shell, program))
			got, err := r.ReadString('\n')
			if err != nil {
				t.Errorf("%q: got %v, %s, want what the program prints", cmd.Args[:2], err, errs.String())
			}
			io.WriteString(in, "behind\n")
			more, _ := r.ReadString('\n')
			return shell, got + more
		case err != nil:
			t.Fatalf("%q: got %v, %s, want the shell's line", cmd.Args[:2], err, errs.String())
		}
	}
}

// sentTo returns what a shell is sent of a program.
func sentTo(s Shell, program string) []byte {
	var packed bytes.Buffer
	packed.WriteString(program)
	if s.Unpacks() {
		packed.Reset()
		w, _ := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
		io.WriteString(w, program)
		w.Close()
	}
	before, behind := s.Announce(packed.Len(), "")
	return slices.Concat(before, packed.Bytes(), behind)
}

// script is a program that says where it is, and what comes behind its bytes.
const script = "#!/bin/sh\necho $1 $MITO_FD `pwd`;read x;echo $x\n"

// TestMain is script, in a copy of this program that a test has sent.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == GoWord {
		dir, _ := os.Getwd()
		fmt.Println(os.Args[1], os.Getenv("MITO_FD"), dir)
		io.Copy(os.Stdout, os.Stdin)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Each sh takes a program in, leaves head and image out, and eats nothing that comes behind. The
// program begins in the directory where the command was started, and leaves no name.
func TestFallbackInEachShell(t *testing.T) {
	before, _ := filepath.Glob("/dev/shm/.mitogen-*")
	own, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Skip("takes Linux")
	}
	for _, shell := range shells() {
		for _, way := range []Way{Pipe, Ahead} {
			said, got := fallenBack(t, shell, way, os.Getenv("PATH"), string(own))
			if said.Place != "ready" || said.Unpacker != "gzip" || said.Reader != "head" {
				t.Errorf("%q, way %d: got %v, want gzip, head, ready", shell, way, said)
			}
			if !strings.HasPrefix(got, GoWord+" 4 "+os.TempDir()) || !strings.HasSuffix(got, "\nbehind\n") {
				t.Errorf("%q, way %d: got %q, want %q, a directory, and %q", shell, way, got, GoWord, "behind")
			}
		}
	}
	if after, _ := filepath.Glob("/dev/shm/.mitogen-*"); len(after) > len(before) {
		t.Errorf("got %q, want no more than %q", after, before)
	}
}

// What a tree lacks is known before the program is sent, and done in another way if there is one.
func TestFallbackWithFewTools(t *testing.T) {
	sh, err := exec.LookPath("dash")
	if err != nil {
		t.Skip("takes dash")
	}
	need := []string{"uname", "mkdir", "ls", "chmod", "rm", "rmdir"}
	for _, tt := range []struct {
		tools            []string
		unpacker, reader string
	}{
		{[]string{"gzip", "head"}, "gzip", "head"},
		{[]string{"gunzip", "gzip", "dd"}, "gzip", "dd"},
		{[]string{"cat", "head"}, "cat", "head"},
		{[]string{"cat", "dd"}, "cat", "dd"},
		{[]string{"cat"}, "cat", "none"},
	} {
		dir := tools(t, append(tt.tools, need...)...)
		long := script + strings.Repeat("\n", 10_000) // more than a block of dd's
		said, got := fallenBack(t, []string{sh}, Pipe, dir, long)
		if said.Unpacker != tt.unpacker || said.Reader != tt.reader {
			t.Errorf("%q: got %v, want %s, %s", tt.tools, said, tt.unpacker, tt.reader)
		}
		if works := tt.reader != "none"; works != strings.HasSuffix(got, "\nbehind\n") {
			t.Errorf("%q: got %q, want it to work: %v", tt.tools, got, works)
		}
	}
}

// A place where another account has exchanged the new directory, or can enter it, is passed over.
func TestFallbackPlaces(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("takes root")
	}
	sh, err := exec.LookPath("dash")
	if err != nil {
		t.Skip("takes dash")
	}
	for name, exchange := range map[string]string{
		"another account's":         `chown 65534 "$1"`,
		"a link to another's":       `rmdir "$1"; ln -s "$OTHERS" "$1"`,
		"a file":                    `rmdir "$1"; echo >"$1"`,
		"others can enter it":       `chmod 711 "$1"`,
		"others can write to it":    `chmod 722 "$1"`,
		"it is gone":                `rmdir "$1"`,
		"it was there before us":    `false`,
		"":                          `true`,
		"its account may not enter": `chmod 000 "$1"`,
	} {
		dir := tools(t, "uname", "ls", "chmod", "rm", "rmdir", "chown", "ln", "gzip", "head")
		real, err := exec.LookPath("mkdir")
		if err != nil {
			t.Fatal(err)
		}
		others := t.TempDir()
		if err := os.Chown(others, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		made := filepath.Join(t.TempDir(), "made")
		wrapper := "#!" + sh + "\necho \"$1\" >>" + made + "\n" + real + " \"$1\"\nOTHERS=" + others +
			"\n" + exchange + "\n"
		if err := os.WriteFile(filepath.Join(dir, "mkdir"), []byte(wrapper), 0o755); err != nil {
			t.Fatal(err)
		}
		want := "place"
		if name == "" {
			want = "ready"
		}
		said, _ := fallenBack(t, []string{sh}, Pipe, dir, script)
		if said.Place != want {
			t.Errorf("%s: got %q, want %q", name, said.Place, want)
		}
		names, _ := os.ReadFile(made)
		for path := range strings.FieldsSeq(string(names)) {
			os.RemoveAll(path)
		}
	}
}
