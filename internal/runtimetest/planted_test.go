package runtimetest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// planted are modules that a stage, the runtime, or an interpreter imports or looks for.
const planted = `os fcntl zlib binascii tty termios errno select struct time io abc codecs
	encodings site stat posixpath genericpath _thread thread _signal signal _collections collections
	_pickle cPickle pickle imp _socket socket cStringIO StringIO traceback linecache tokenize re
	faulthandler _frozen_importlib_external sitecustomize usercustomize warnings types _weakrefset
	functools copyreg copy_reg keyword operator _mitogen mitogen _mitogen_spawn string token ast enum
	contextlib _winapi nt unicodedata _colorize`

// Every way to start a context leaves the current directory alone, from the interpreter's start on,
// with the interpreters of the test.
func TestStartInASharedDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mark := filepath.Join(dir, "mark")
	text := "import sys\ntry:\n    import posix\n    posix.mkdir('" + mark +
		"')\nexcept Exception:\n    pass\nraise SystemExit(1)\n"
	for _, name := range strings.Fields(planted) {
		for _, place := range []string{dir, filepath.Join(dir, "x")} {
			if err := os.MkdirAll(place, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(place, name+".py"), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	cfg := boot.Config{ID: uint32(first), Parents: []uint32{0}, Name: "web1",
		MaxMessage: wire.MaxMessage, LogLevel: 20}
	ahead, err := boot.AheadEnv(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	stdin := append(boot.Head(cfg, len(boot.Image())), boot.Image()...)
	ways := []struct {
		way   boot.Way
		stdin []byte
		env   []string
	}{
		{boot.Pipe, stdin, nil}, {boot.Pipe, stdin, []string{"PYTHONPATH=:x"}},
		{boot.Pipe, stdin, []string{"PYTHONPATH=.:/nowhere"}},
		{boot.Ahead, stdin, nil}, {boot.Ahead, nil, ahead},
	}
	for _, py := range interpreters(t) {
		for _, w := range ways {
			argv := boot.Command([]string{py.Path}, w.way)
			cmd := exec.Command(argv[0], argv[1:]...)
			cmd.Dir, cmd.Stdin, cmd.Env = dir, bytes.NewReader(w.stdin), append(os.Environ(), w.env...)
			out, _ := cmd.CombinedOutput() // it ends with its stdin
			if !bytes.Contains(out, []byte{0xf1, 'M', 'G', 0}) {
				t.Errorf("%s, way %d, %.20s: it has not started: %.300q", py.Name(), w.way, w.env, out)
			}
			if err := os.Remove(mark); err == nil {
				t.Errorf("%s, way %d, %.20s: a planted module was executed", py.Name(), w.way, w.env)
			}
		}
	}
	cmd := exec.Command("python3", "-c", "import _winapi")
	cmd.Dir = dir
	cmd.Run()
	if _, err := os.Stat(mark); err != nil {
		t.Error("the trap does not work: a planted module was not executed by python3 -c")
	}
}
