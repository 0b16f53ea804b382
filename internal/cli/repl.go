package cli

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/internal/modules"
)

const replUsage = `Starts an interactive Python at a target: the interpreter there that mitogen
runs code with, at a terminal there, as python is without arguments. Lines can be edited and
called back, and Tab completes names, where that interpreter has readline. Nothing is written to
a disk there, history included.

Modules of --path, $MITOGEN_PATH and --venv can be imported there. While the interpreter runs,
the target may ask for any of them, as what will be typed isn't known: name directories that it
may have. --path . is the current one. Modules elsewhere are not given away.

If standard input is no terminal, it is a program, as for mitogen run -.

Ctrl-C interrupts what runs there, and Ctrl-D ends. At the beginning of a line ~. ends the
connection, ~? tells what else there is, and ~~ types ~.

The status is that of the interpreter; 255 if the target can't be reached or is lost, or if ~.
ended it.`

const replExamples = `  mitogen repl -t web1
  mitogen repl -t bastion+web1+sudo --path .`

func newRepl(s *state) *cobra.Command {
	var flags shellFlags
	cmd := command(s, &cobra.Command{
		Use:     "repl -t TARGET [flags]",
		Short:   "be at a Python prompt there",
		Long:    replUsage,
		Example: replExamples,
	}, func(ctx context.Context, s *state, args []string) error {
		return repl(ctx, s, flags, args)
	})
	flags.add(cmd)
	s.opt.addTargets(cmd)
	s.opt.addPath(cmd.Flags())
	return cmd
}

func repl(ctx context.Context, s *state, flags shellFlags, args []string) error {
	if len(args) > 0 {
		return withHint(fmt.Errorf("got argument %s, want none", quoted(args[0])),
			"mitogen run runs scripts")
	}
	escape, err := flags.escapeCharacter()
	if err != nil {
		return err
	}
	if !isTerminal(s.stdin) {
		return run(ctx, s, program{}, []string{"-"})
	}
	if err := s.checkOne(ctx); err != nil {
		return err
	}
	if err := s.opt.serveAll(); err != nil {
		return err
	}
	s.asIs = true
	return s.interactive(ctx, func(ctx context.Context, h *host) error {
		if err := h.connect(h.stdout); err != nil {
			return err
		}
		h.status, err = h.onTerminal(ctx, &replSession{h: h}, s.stdin.(*os.File), escape)
		return err
	})
}

// serveAll has the target be given each module of the search path that it asks for.
func (o *options) serveAll() error {
	path, closePath, err := o.searchPath(nil)
	if err != nil {
		return err
	}
	defer closePath()
	for _, e := range path.Entries {
		o.serve = append(o.serve, topLevel(e.FS)...)
	}
	slices.Sort(o.serve)
	o.serve = slices.Compact(o.serve)
	return nil
}

// topLevel returns the names of the modules and packages that a place has, and of directories that
// could be some.
func topLevel(place fs.FS) (names []string) {
	entries, _ := fs.ReadDir(place, ".") // what can't be listed serves nothing
	for _, e := range entries {
		name, _, _ := strings.Cut(e.Name(), ".")
		suffix := filepath.Ext(e.Name())
		module := suffix == ".py" || suffix == ".so" || e.IsDir() && suffix == ""
		if module && modules.Valid(name) && !strings.Contains(name, "-") { // which no statement imports
			names = append(names, name)
		}
	}
	return names
}

// replSession is an interactive interpreter (python/repl.py).
type replSession struct {
	h     *host
	input *replInput
	ended chan struct{} // closed by the run; what follows is set then

	status int
	err    error
}

// replSource is the program that becomes the interpreter.
const replSource = "import sys\nimport _mitogen_repl\n_mitogen_repl.main(sys.argv[1:])\n"

func (r *replSession) start(
	ctx context.Context,
	keys deadlineReader,
	size mitogen.WindowSize,
) error {
	r.input = newReplInput(keys)
	r.ended = make(chan struct{})
	args := []string{os.Getenv("TERM"),
		fmt.Sprintf("%d,%d,%d,%d", size.Rows, size.Cols, size.Width, size.Height)}
	for name, value := range localeVariables(os.Environ()) {
		args = append(args, name+"="+value)
	}
	script := mitogen.Script{Name: "repl", Source: []byte(replSource), Args: args, Stdin: r.input,
		Stdout: r.h.stdout, Stderr: r.h.stderr}
	go func() {
		defer close(r.ended)
		r.status, r.err = r.h.context.Run(ctx, script)
		r.input.end()
	}()
	return nil
}

func (r *replSession) resize(size mitogen.WindowSize) {
	b := []byte(nil)
	for _, n := range []uint16{size.Rows, size.Cols, size.Width, size.Height} {
		b = binary.BigEndian.AppendUint16(b, n)
	}
	r.input.put('w', b)
}

func (r *replSession) wait() (int, error) {
	<-r.ended
	return r.status, r.err
}

// replInput is the records that the interpreter's terminal is fed with. Its Read can be interrupted
// by SetReadDeadline.
type replInput struct {
	*io.PipeReader
	w    *io.PipeWriter
	keys deadlineReader
	over chan struct{} // closed when nothing reads keys any more
}

// deadlineReader is a Reader whose Read can be interrupted.
type deadlineReader interface {
	io.Reader
	SetReadDeadline(time.Time) error
}

func newReplInput(keys deadlineReader) *replInput {
	r, w := io.Pipe()
	in := &replInput{r, w, keys, make(chan struct{})}
	go func() {
		defer close(in.over)
		b := make([]byte, 4096)
		for {
			n, err := keys.Read(b)
			if n > 0 {
				in.put('k', b[:n])
			}
			if err != nil {
				w.CloseWithError(err)
				return
			}
		}
	}()
	return in
}

// put writes a record, and waits until it has been read.
func (in *replInput) put(kind byte, data []byte) {
	record := binary.BigEndian.AppendUint16([]byte{kind}, uint16(len(data)))
	in.w.Write(append(record, data...))
}

// SetReadDeadline interrupts Read for good by a time that is past.
func (in *replInput) SetReadDeadline(at time.Time) error {
	if !at.IsZero() {
		in.w.CloseWithError(os.ErrDeadlineExceeded)
	}
	return in.keys.SetReadDeadline(at)
}

// end waits until nothing reads keys any more.
func (in *replInput) end() {
	in.SetReadDeadline(time.Unix(1, 0))
	<-in.over
}
