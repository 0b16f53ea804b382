package cli

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/printable"
)

// exitIncomplete is the status of a copy that has left out files, as rsync's.
const exitIncomplete = 23

const putUsage = `Copies files and directories of this machine to DEST at each target, as the
account that the target ends with: nothing is copied to another account first,
and web1+sudo:app writes as app. If DEST is a directory, or several SRC are
named, they go into it; else SRC gets the name DEST. Relative names begin in the
directory that the target's programs start in.

A file takes the place of an old one at once when all of it has arrived and its
digest is right: an interruption leaves the old file or the new one. Directories
are copied with all that is in them, symbolic links in them as links. What is
neither file, directory nor link is left out, and told.

Without -a a new file has the mode of SRC as far as the umask there lets it, and
an old one keeps its own.

A target without Python takes files by a copy of this program, which has no name
there and ends with the command; one of one hop takes a lone file by sh.

What goes to several targets behind a common hop passes each link once. --forks
says then how many targets are connected at once.

` + copyStatus

const putExamples = `  mitogen put -t web1 data /srv/data
  mitogen put -t web1+sudo,web2+sudo -a site /srv
  mitogen put -t bastion+web1 check.py fix.py /srv`

const getUsage = `Copies files and directories of each target to DEST on this machine. If DEST is
a directory, or several SRC are named, they go into it; else SRC gets the name
DEST. With several targets DEST/TARGET is such a directory for each. A SRC that
no file is called may be a pattern for the target, as in a shell. Files take
their places as with put.

The target is not trusted: it can write nothing outside of DEST, and there only
what SRC names. Symbolic links that lead out of DEST are not made, unless
--all-links says so, and no file gets a set-user-ID bit. A target without Python
gives files as put has it.

` + copyStatus

const copyStatus = `Exit status 23, or with several targets 1: some files were not copied, of which
each has a line on standard error. All else was.`

const getExamples = `  mitogen get -t web1 /etc/hosts .
  mitogen get -t web1+sudo,web2+sudo '/etc/host*' collected
  mitogen get -t web1 -a /srv backup`

// copyFlags are those of commands that copy files.
type copyFlags struct {
	options   mitogen.CopyOptions
	recursive bool // which they always are
}

func (c *copyFlags) add(f *pflag.FlagSet) {
	f.BoolVarP(&c.options.Preserve, "preserve", "a", false, "keep modes and times")
	f.BoolVarP(&c.options.Sparse, "sparse", "S", false, "leave out long runs of zeros on the disk")
	f.BoolVarP(&c.recursive, "recursive", "r", false, "ignored, as it is always so")
}

// transfer copies files between here and one target. The last of args is the destination.
type transfer func(
	ctx context.Context,
	h *host,
	o mitogen.CopyOptions,
	dest string,
	src []string,
) (mitogen.CopyTotals, error)

func put(
	ctx context.Context,
	h *host,
	o mitogen.CopyOptions,
	dest string,
	src []string,
) (mitogen.CopyTotals, error) {
	return h.context.Put(ctx, dest, o, src...)
}

// putFiles is put's work: with several targets, links in common carry the files once.
func putFiles(ctx context.Context, s *state, o mitogen.CopyOptions, args []string) error {
	if err := checkCopy(ctx, s, args); err != nil {
		return err
	}
	s.goFallback = true
	dest, src := args[len(args)-1], args[:len(args)-1]
	var one oneFile
	if len(src) == 1 {
		one = func(
			ctx context.Context,
			h *host,
			target string,
			co mitogen.ConnectOptions,
			o mitogen.CopyOptions,
		) (mitogen.CopyTotals, error) {
			return h.fleet.eng.PutFile(ctx, target, co, dest, o, src[0])
		}
	}
	if !s.opt.several() {
		return copyFiles(ctx, s, o, args, put, one)
	}
	return together(ctx, s, o, one,
		func(
			ctx context.Context,
			contexts []*mitogen.Context,
			o mitogen.CopyOptions,
			_ func(*mitogen.Context, func(*host)),
		) iter.Seq2[*mitogen.Context, mitogen.Result[mitogen.CopyTotals]] {
			return mitogen.PutEach(ctx, contexts, dest, o, src...)
		},
		func(ctx context.Context, h *host, o mitogen.CopyOptions) (mitogen.CopyTotals, error) {
			return put(ctx, h, o, dest, src)
		})
}

// checkCopy reads the targets, and demands two arguments.
func checkCopy(ctx context.Context, s *state, args []string) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	if len(args) < 2 {
		return usagef("no SRC and DEST")
	}
	return nil
}

// get has a directory for each of several targets.
func get(
	ctx context.Context,
	h *host,
	o mitogen.CopyOptions,
	dest string,
	src []string,
) (mitogen.CopyTotals, error) {
	dest, err := h.destination(dest)
	if err != nil {
		return mitogen.CopyTotals{}, err
	}
	return h.context.Get(ctx, dest, o, src...)
}

// getOne is get's oneFile.
func getOne(args []string) oneFile {
	if len(args) != 2 {
		return nil
	}
	return func(
		ctx context.Context,
		h *host,
		target string,
		co mitogen.ConnectOptions,
		o mitogen.CopyOptions,
	) (mitogen.CopyTotals, error) {
		dest, err := h.destination(args[1])
		if err != nil {
			return mitogen.CopyTotals{}, err
		}
		return h.fleet.eng.GetFile(ctx, target, co, dest, o, args[0])
	}
}

// destination returns the directory of a target's files: of several each has its own.
func (h *host) destination(dest string) (string, error) {
	if !h.fleet.s.opt.several() {
		return dest, nil
	}
	dest = filepath.Join(dest, fileName(h.target))
	return dest, os.MkdirAll(dest, 0o777)
}

func newPut(s *state) *cobra.Command {
	var c copyFlags
	cmd := command(s, &cobra.Command{
		Use:     "put -t TARGET... [flags] SRC... DEST",
		Short:   "copy files to targets",
		Long:    putUsage,
		Example: putExamples,
	}, func(ctx context.Context, s *state, args []string) error {
		return putFiles(ctx, s, c.options, args)
	})
	c.add(cmd.Flags())
	s.opt.addBulk(cmd.Flags())
	s.opt.addFallback(cmd.Flags())
	s.opt.addTargets(cmd)
	return cmd
}

func newGet(s *state) *cobra.Command {
	var c copyFlags
	cmd := command(s, &cobra.Command{
		Use:     "get -t TARGET... [flags] SRC... DEST",
		Short:   "copy files from targets",
		Long:    getUsage,
		Example: getExamples,
	}, func(ctx context.Context, s *state, args []string) error {
		if err := checkCopy(ctx, s, args); err != nil {
			return err
		}
		s.goFallback = true
		return copyFiles(ctx, s, c.options, args, get, getOne(args))
	})
	c.add(cmd.Flags())
	cmd.Flags().BoolVar(&c.options.AllLinks, "all-links", false,
		"make symbolic links that lead out of DEST, too")
	s.opt.addBulk(cmd.Flags())
	s.opt.addFallback(cmd.Flags())
	s.opt.addTargets(cmd)
	return cmd
}

// fileName returns a target as the name of a directory.
func fileName(target string) string {
	name := strings.ReplaceAll(target, "/", "_")
	if strings.HasPrefix(name, ".") {
		name = "_" + name[1:]
	}
	return name
}

// copied has the figures of a copy for --json.
type copied struct {
	Files    int           `json:"files"`
	Dirs     int           `json:"directories"`
	Links    int           `json:"links"`
	Bytes    int64         `json:"bytes"`
	Failed   int           `json:"failed"`
	Failures []copyFailure `json:"failures,omitempty"` // the first maxFailures, within maxTexts
	Changes  []syncChange  `json:"changes,omitempty"`  // of a sync, the first maxChanges

	size int // bytes that Failures and Changes take
}

// fits tells whether a record has room for further texts, and takes it.
func (c *copied) fits(texts ...string) bool {
	size := c.size + 64
	for _, text := range texts {
		size += len(text)
	}
	if size > maxTexts {
		return false
	}
	c.size = size
	return true
}

type copyFailure struct {
	Path    string `json:"path"`
	Message string `json:"message"`
}

// What a target can have a record hold has bounds.
const (
	maxFailures = 1000
	maxChanges  = 100_000
	maxTexts    = 16 << 20 // bytes of both
)

func copyFiles(
	ctx context.Context,
	s *state,
	o mitogen.CopyOptions,
	args []string,
	do transfer,
	one oneFile,
) error {
	s.opt.bulk = true
	return s.job(ctx, nil, s.printCopy, one.or(o, func(ctx context.Context, h *host) error {
		if err := h.connect(h.stdout); err != nil {
			return err
		}
		h.copied = &copied{}
		mine := o
		mine.Failed, mine.Progress = h.tellFailure, h.progress()
		last := len(args) - 1
		t, err := do(ctx, h, mine, args[last], args[:last])
		return h.copyEnds(t, err)
	}))
}

// oneFile copies the only file of a command to or from a target without Python. Nil: there is more.
type oneFile func(
	ctx context.Context,
	h *host,
	target string,
	co mitogen.ConnectOptions,
	o mitogen.CopyOptions,
) (mitogen.CopyTotals, error)

// or returns a job that does j, and else copies by one where there turns out to be no Python. What
// is no single file goes by a copy of this program.
func (one oneFile) or(o mitogen.CopyOptions, j job) job {
	return func(ctx context.Context, h *host) error {
		h.byShell = one != nil
		err := j(ctx, h)
		target, co, direct := h.direct()
		if one == nil || !direct || !errors.Is(err, connect.ErrNoPython) {
			return err
		}
		h.copied = &copied{}
		o.Failed, o.Progress = h.tellFailure, h.progress()
		t, failed := one(ctx, h, target, co, o)
		if errors.Is(failed, mitogen.ErrOneFile) {
			h.byShell = false
			return j(ctx, h)
		}
		return h.copyEnds(t, failed)
	}
}

// copyEnds notes what came of a copy.
func (h *host) copyEnds(t mitogen.CopyTotals, err error) error {
	c := h.copied
	c.Files, c.Dirs, c.Links = t.Files, t.Dirs, t.Links
	c.Bytes, c.Failed = t.Bytes, t.Failed
	if errors.Is(err, mitogen.ErrIncomplete) {
		h.status, err = exitIncomplete, nil
	}
	h.ran = err == nil
	return err
}

// together copies to several targets, by each to all that have links in common.
func together(
	ctx context.Context,
	s *state,
	o mitogen.CopyOptions,
	one oneFile,
	each eachPut,
	alone func(ctx context.Context, h *host, o mitogen.CopyOptions) (mitogen.CopyTotals, error),
) error {
	s.opt.bulk = true
	g := s.gather(ctx, o, each)
	return s.job(ctx, nil, s.printCopy, one.or(o, func(ctx context.Context, h *host) error {
		defer g.out(h)
		if err := h.connect(h.stdout); err != nil {
			return err
		}
		h.copied = &copied{}
		if _, err := h.context.Info(ctx); err != nil {
			return err
		}
		if h.context.Direct() {
			g.out(h)
			mine := o
			mine.Failed = h.tellFailure
			return h.copyEnds(alone(ctx, h, mine))
		}
		return h.copyEnds(g.join(ctx, h))
	}))
}

// tellFailure tells of one file.
func (h *host) tellFailure(e *mitogen.FileError) {
	path, why := printable.Line(e.Path), printable.Line(e.Err.Error())
	if h.fleet.s.opt.json {
		if len(h.copied.Failures) < maxFailures && h.copied.fits(path, why) {
			h.copied.Failures = append(h.copied.Failures, copyFailure{path, why})
		}
		return
	}
	name := ""
	if h.fleet.s.opt.several() {
		name = h.target
	}
	h.fleet.s.ui.tell(name, &problem{Message: printable.Name(e.Path) + ": " + why, cause: e})
}

// progress shows how far a lone target is, where a person sees it.
func (h *host) progress() func(mitogen.CopyTotals) {
	s := h.fleet.s
	if s.opt.several() || s.opt.quiet || s.opt.json || s.ui.plain || !s.ui.errTTY {
		return nil
	}
	began := time.Now()
	next := began
	return func(t mitogen.CopyTotals) {
		now := time.Now()
		if now.Before(next) {
			return
		}
		next = now.Add(200 * time.Millisecond)
		rate := float64(t.Bytes) / max(now.Sub(began).Seconds(), 0.001)
		size, speed := sizeText(t.Bytes), sizeText(int64(rate))
		s.ui.show(fmt.Sprintf("%s, %s, %s/s", counted(t.Files, "file", "files"), size, speed))
	}
}

// counted returns a number with the noun that it counts.
func counted[N int | int64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// sizeText is a number of bytes for people.
func sizeText(n int64) string {
	units := []string{"bytes", "KiB", "MiB", "GiB", "TiB"}
	if n < 1<<10 {
		return counted(n, "byte", units[0])
	}
	f, i := float64(n), 0
	for f >= 1<<10 && i < len(units)-1 {
		f /= 1 << 10
		i++
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}

// printCopy prints what a copy comes to.
func (s *state) printCopy(h *host) {
	if s.opt.json {
		h.printJSON(record{Copied: h.copied})
		return
	}
	h.tell()
	if !h.ran || s.opt.quiet {
		return
	}
	pg := s.ui.page(s.ui.out)
	if s.opt.several() {
		pg.add("%s: ", printable.Name(h.target))
	}
	pg.add("%s", h.copied.summary()).end().print()
}

// summary returns the figures of a copy for people.
func (c *copied) summary() string {
	text := fmt.Sprintf("%s, %s, %s, %s", counted(c.Files, "file", "files"),
		counted(c.Dirs, "directory", "directories"), counted(c.Links, "link", "links"),
		sizeText(c.Bytes))
	if c.Failed > 0 {
		text += fmt.Sprintf("; %d failed", c.Failed)
	}
	return text
}
