package cli

import (
	"context"
	"iter"

	"github.com/spf13/cobra"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/internal/printable"
)

const syncUsage = `Makes a directory at each target as SRC is here, as rsync -a does, and sends the
files that differ: "site/ DEST" makes DEST as site is, "site DEST" makes
DEST/site so. With modes, times and symbolic links; if the target's account is
root, with users and groups by their names. Nothing has to be installed there.

A file of the same size and time is the same, unless -c has contents compared.
Files take their places as with put.

--exclude takes patterns as rsync's: *.o is any such name, /a is a at the top,
a/b is the end of a path, b/ is a directory, and ** stands for parts of a path.
What is excluded is neither copied nor removed.

What several targets behind a common hop lack alike passes each link once.
--forks bounds the targets that are connected at the same time.

With --get, SRC is a directory of the target, and DEST one of this machine; with
several targets DEST/TARGET. The target is not trusted, as with get; but with
--delete it can have all removed that is in DEST and isn't excluded.

` + copyStatus

const syncExamples = `  mitogen sync -t web1 site /srv
  mitogen sync -t web1+sudo -n --delete --exclude .keep site/ /srv
  mitogen sync -t web1 --get /srv/ backup`

// syncFlags are the flags of sync.
type syncFlags struct {
	options mitogen.SyncOptions
	get     bool
	list    bool
}

func newSync(s *state) *cobra.Command {
	var c syncFlags
	cmd := command(s, &cobra.Command{
		Use:     "sync -t TARGET... [flags] SRC[/] DEST",
		Short:   "make a directory there as it is here",
		Long:    syncUsage,
		Example: syncExamples,
	}, func(ctx context.Context, s *state, args []string) error { return syncFiles(ctx, s, c, args) })
	f, o := cmd.Flags(), &c.options
	f.BoolVar(&c.get, "get", false, "the other way: SRC is the target's, DEST is here")
	f.BoolVarP(&o.DryRun, "dry-run", "n", false, "change nothing, and list what would be changed")
	f.BoolVar(&c.list, "list", false, "list what is changed")
	f.BoolVarP(&o.Checksum, "checksum", "c", false, "compare contents, not sizes and times")
	f.BoolVar(&o.Delete, "delete", false, "remove from DEST what SRC doesn't have")
	f.StringArrayVar(&o.Exclude, "exclude", nil, "leave out what fits `PATTERN`; repeat")
	f.BoolVarP(&o.HardLinks, "hard-links", "H", false, "keep names of one file names of one file")
	f.BoolVarP(&o.Xattrs, "xattrs", "X", false, "keep extended attributes")
	f.BoolVar(&o.Partial, "partial", false,
		"keep what came of a large file, and go on there next time")
	f.BoolVarP(&o.Sparse, "sparse", "S", false, "leave out long runs of zeros on the disk")
	f.BoolVar(&o.AllLinks, "all-links", false,
		"with --get, make symbolic links that lead out of DEST, too")
	s.opt.addBulk(f)
	s.opt.addTargets(cmd)
	return cmd
}

// syncChange is a line of what a sync has changed.
type syncChange struct {
	Path    string `json:"path"`
	Deleted bool   `json:"deleted,omitempty"`
}

func syncFiles(ctx context.Context, s *state, flags syncFlags, args []string) error {
	if len(args) != 2 {
		return usagef("got %d arguments, want SRC and DEST", len(args))
	}
	if err := s.check(ctx); err != nil {
		return err
	}
	do := func(
		ctx context.Context,
		h *host,
		common mitogen.CopyOptions,
		dest string,
		src []string,
	) (mitogen.CopyTotals, error) {
		o := flags.with(common)
		o.Changed = func(c mitogen.SyncChange) { h.tellChange(c, flags.lists()) }
		if !flags.get {
			return h.context.SyncPut(ctx, dest, src[0], o)
		}
		dest, err := h.destination(dest)
		if err != nil {
			return mitogen.CopyTotals{}, err
		}
		return h.context.SyncGet(ctx, dest, src[0], o)
	}
	if flags.get || !s.opt.several() {
		return copyFiles(ctx, s, mitogen.CopyOptions{}, args, do, nil)
	}
	return together(ctx, s, mitogen.CopyOptions{}, nil,
		func(
			ctx context.Context,
			contexts []*mitogen.Context,
			common mitogen.CopyOptions,
			at func(*mitogen.Context, func(*host)),
		) iter.Seq2[*mitogen.Context, mitogen.Result[mitogen.CopyTotals]] {
			o := flags.with(common)
			o.Changed = func(c mitogen.SyncChange) {
				at(c.Context, func(h *host) { h.tellChange(c, flags.lists()) })
			}
			return mitogen.SyncPutEach(ctx, contexts, args[1], args[0], o)
		},
		func(ctx context.Context, h *host, o mitogen.CopyOptions) (mitogen.CopyTotals, error) {
			return do(ctx, h, o, args[1], args[:1])
		})
}

// with returns the options with those that all copies have.
func (f *syncFlags) with(common mitogen.CopyOptions) mitogen.SyncOptions {
	o := f.options
	o.Failed, o.Progress = common.Failed, common.Progress
	return o
}

// lists tells whether each change has a line.
func (f *syncFlags) lists() bool { return f.list || f.options.DryRun }

// tellChange tells of one change.
func (h *host) tellChange(c mitogen.SyncChange, list bool) {
	s := h.fleet.s
	path := printable.Line(c.Path)
	switch {
	case s.opt.json:
		if len(h.copied.Changes) < maxChanges && h.copied.fits(path) {
			h.copied.Changes = append(h.copied.Changes, syncChange{path, c.Deleted})
		}
		return
	case !list:
		return
	}
	pg := s.ui.page(s.ui.out)
	if s.opt.several() {
		pg.add("%s: ", printable.Name(h.target))
	}
	if c.Deleted {
		pg.add("deleting ")
	}
	pg.add("%s", printable.Name(c.Path)).end().print()
}
