package boot

import (
	"crypto/rand"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// EC2 is the line that a shell prints which has found no interpreter, and reads what it is to do
// instead (docs/protocol/golang.md, "Without Python").
const EC2 = Marker + "EC2"

// Code of a shell that has found no interpreter. By stdin head and image have come already, whose
// lines are left out.
const (
	echoEC2    = `echo;echo ` + Marker + `\EC2;`
	otherAhead = echoEC2 + `read c&&eval "$c"`
	otherPipe  = echoEC2 + `while read c;do case $c in MITO*)eval "${c#MITO}";esac;done`
)

// FallbackCommand is Command for a target where a Go program takes the interpreter's place if there
// is none. There is no such command for a terminal, nor for a candidate of several words; ok is
// false then.
func FallbackCommand(python []string, way Way) (argv []string, ok bool) {
	for _, p := range python {
		if strings.Contains(p, " ") {
			return nil, false
		}
	}
	switch way {
	case Pipe:
		return search(python, way, otherPipe), true
	case Ahead:
		return search(python, way, otherAhead), true
	}
	return nil, false
}

// ShellCommand returns the argv of a shell that a Go program takes the place of, where it is known
// that there is no interpreter. It reads what FallbackLine returns for Ahead.
func ShellCommand() []string { return []string{"sh", "-c", otherAhead} }

//go:embed fallback.sh
var fallbackSource string

// fallbackScript is fallbackSource on one line.
var fallbackScript = func() string {
	var lines []string
	for line := range strings.Lines(fallbackSource) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, " ")
}()

// FallbackLine returns what a shell that has printed EC2 is to be sent, its newline included.
func FallbackLine(way Way) []byte {
	var token [8]byte
	rand.Read(token[:])
	script := strings.ReplaceAll(fallbackScript, "TOKEN", ".mitogen-"+hex.EncodeToString(token[:]))
	if way == Ahead {
		return []byte(script + "\n")
	}
	// The end of what was written before may be a part of a character, which takes newlines with it.
	return []byte("\n\n\n\nMITO" + script + "\n")
}

// Shell says what a target without Python has for a program, in a line of FallbackLine's script.
type Shell struct {
	System, Machine string // as uname has them
	Unpacker        string // "gzip", "gunzip", "zcat"; "cat": none
	Reader          string // "head" or "dd"; "none"
	Place           string // "ready"; else why there is none
}

// shellPrefix begins the line of a Shell.
const shellPrefix = Marker + "GO|"

// ParseShell reads a line, which is hostile. ok is false if it is another line.
func ParseShell(line string) (s Shell, ok bool) {
	text, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), shellPrefix)
	fields := strings.Split(text, "|")
	if !ok || len(fields) != 5 {
		return s, false
	}
	return Shell{fields[0], fields[1], fields[2], fields[3], fields[4]}, true
}

// Errors of Lacks.
var (
	errNoProc   = errors.New("no /proc is mounted there")
	errNoPlace  = errors.New("no directory there takes a file")
	errNoExec   = errors.New("no directory there lets a file be executed (noexec)")
	errNoReader = errors.New("there is neither head -c nor dd")
)

// Lacks returns why the target can't take a program; nil: it can.
func (s Shell) Lacks() error {
	switch {
	case s.Place == "proc":
		return errNoProc
	case s.Place == "noexec":
		return errNoExec
	case s.Place != "ready":
		return errNoPlace
	case s.Reader != "head" && s.Reader != "dd":
		return errNoReader
	}
	return nil
}

// Unpacks reports whether the target takes a program as gzip.
func (s Shell) Unpacks() bool { return s.Unpacker != "cat" }

// ddBlock is the size in bytes that dd reads at a time in the script.
const ddBlock = 4096

// Announce returns what goes before a program of so many bytes, and what behind it. loader is the
// path of what the program needs to be executed; "": nothing.
func (s Shell) Announce(size int, loader string) (before, behind []byte) {
	n := size
	if s.Reader == "dd" {
		n = (size + ddBlock - 1) / ddBlock
		behind = make([]byte, n*ddBlock-size)
	}
	return fmt.Appendf(nil, "%d %s\n", n, loader), behind
}
