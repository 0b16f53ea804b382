package mitogen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/mitogen-go/mitogen/internal/ownfile"
)

// SyncOptions are for SyncPut and SyncGet. The zero value is as rsync -a: modes, times, links, and
// if the account that writes is root, users and groups by their names.
type SyncOptions struct {
	Checksum bool // compare contents; else a file of the same size and time is the same
	DryRun   bool // change nothing
	Delete   bool // remove what the source doesn't have, unless part of the source couldn't be read
	Sparse   bool // long runs of zeros take no room on the disk

	// HardLinks has names of one file at the source become names of one file at the destination,
	// and files that are apart become files apart. Without it each name gets a file of its own.
	HardLinks bool

	// Xattrs has extended attributes become those of the source: on Linux, at targets with Python 3.3
	// or later, those whose names begin with "user.". SyncPut from root to root copies all
	// attributes but the system's, such as ACLs.
	Xattrs bool

	// Partial has what came of a large file be kept, as .mitogen-partial-NAME, if the sync is
	// interrupted, and be used by the next one with Partial. The file itself stays as it was. If it,
	// or an earlier part, has more bytes than came, that is used instead.
	Partial bool

	// Exclude has patterns, as rsync's --exclude, of what is neither copied nor removed.
	Exclude []string

	// AllLinks is as in CopyOptions, for SyncGet.
	AllLinks bool

	// Changed is told of each file and link that is copied, changed or removed, or with DryRun would
	// be. It is called by one goroutine at a time. A path of SyncGet is hostile. May be nil.
	Changed func(SyncChange)

	// Failed and Progress are as in CopyOptions.
	Failed   func(*FileError)
	Progress func(CopyTotals)
}

// SyncChange is one thing that a sync changes.
type SyncChange struct {
	Path    string // below the destination
	Deleted bool
	Context *Context // that is, or was to be, changed, or that the change comes from
}

func (o *SyncOptions) copying() *CopyOptions {
	return &CopyOptions{Sparse: o.Sparse, AllLinks: o.AllLinks, Failed: o.Failed, Progress: o.Progress}
}

func (o *SyncOptions) flags() ownfile.Flags {
	f := ownfile.Preserve | ownfile.Owners
	for flag, set := range map[ownfile.Flags]bool{
		ownfile.Checksum: o.Checksum, ownfile.DryRun: o.DryRun, ownfile.Sparse: o.Sparse,
		ownfile.HardLinks: o.HardLinks, ownfile.Xattrs: o.Xattrs,
		ownfile.Partial: o.Partial,
	} {
		if set {
			f |= flag
		}
	}
	return f
}

// putFlags are those of a sync from here.
func (o *SyncOptions) putFlags() ownfile.Flags {
	flags := o.flags()
	if o.Xattrs && os.Geteuid() == 0 {
		flags |= ownfile.AllXattrs
	}
	return flags
}

// changed returns a function that tells Changed.
func (o *SyncOptions) changed(c *Context) func(path string, deleted bool) {
	return func(path string, deleted bool) {
		if o.Changed != nil {
			o.Changed(SyncChange{path, deleted, c})
		}
	}
}

// check returns the patterns, and an error for names and options that mean nothing or can't be had
// here.
func (o *SyncOptions) check(dest, src string) (ownfile.Exclude, error) {
	if dest == "" || src == "" {
		return nil, errNoName // with Delete all of an account's home would be removed
	}
	if o.Xattrs && !ownfile.HasXattrs {
		return nil, fmt.Errorf("sync: %w", ownfile.ErrNoXattrs)
	}
	x := ownfile.Exclude(o.Exclude)
	if err := x.Check(); err != nil {
		return nil, fmt.Errorf("sync: exclude: %w", err)
	}
	return x, nil
}

// intoDest returns the name that a source has in the destination: none if it ends with a slash,
// when the destination gets the content of the source.
func intoDest(src string) string {
	if strings.HasSuffix(src, "/") {
		return ""
	}
	return topName(src)
}

// SyncPut makes a directory of c as src is, a directory of this machine, and sends what differs: if
// src ends with a slash, dest itself, else the directory of src's name in dest. Dest is made if
// only its last name is missing. Otherwise it is as Put.
func (c *Context) SyncPut(
	ctx context.Context,
	dest, src string,
	o SyncOptions,
) (CopyTotals, error) {
	exclude, err := o.check(dest, src)
	if err != nil {
		return CopyTotals{}, err
	}
	source := localSource(src)
	source.Name = intoDest(src)
	cp, err := c.copying(ctx, "syncput", o.copying())
	if err != nil {
		return CopyTotals{}, err
	}
	defer cp.close()
	s := ownfile.SyncSender{Flags: o.putFlags(), Exclude: exclude, Delete: o.Delete,
		Changed: o.changed(c)}
	s.W, s.Failed, s.Sent = ownfile.NewWriter(cp), cp.failed, o.copying().progress()
	if err = s.Sync(cp.ctx, dest, source, cp); err != nil {
		err = cp.why(err)
	}
	return cp.end(s.Totals, err)
}

// SyncGet makes a directory of this machine as src is, a directory of c, as SyncPut does the other
// way. The context is not trusted, as with Get. With Delete it can have all removed below dest that
// isn't excluded.
func (c *Context) SyncGet(
	ctx context.Context,
	dest, src string,
	o SyncOptions,
) (CopyTotals, error) {
	exclude, err := o.check(dest, src)
	if err != nil {
		return CopyTotals{}, err
	}
	root, err := syncDestination(dest, o.DryRun)
	if err != nil {
		return CopyTotals{}, err
	}
	defer root.Close()
	cp, err := c.copying(ctx, "syncget", o.copying())
	if err != nil {
		return CopyTotals{}, err
	}
	defer cp.close()
	if strings.HasSuffix(src, "/") {
		src += "."
	}
	r := ownfile.SyncReceiver{W: ownfile.NewWriter(cp), Exclude: exclude, Delete: o.Delete,
		Changed: o.changed(c)}
	r.Root, r.Flags, r.AllLinks = root, o.flags(), o.AllLinks
	r.Wanted, r.Failed, r.Got = wanted([]string{src}), cp.failed, o.copying().progress()
	if err = r.Sync(cp.ctx, src, cp); err != nil {
		err = cp.why(err)
	}
	return cp.end(r.Totals, err)
}

// syncDestination opens a directory, which is made if it is missing. In a dry run an empty one
// stands for that.
func syncDestination(dest string, still bool) (*os.Root, error) {
	root, err := os.OpenRoot(dest)
	if !errors.Is(err, fs.ErrNotExist) {
		return root, err
	}
	if !still {
		if err := os.Mkdir(dest, 0o777); err != nil {
			return nil, err
		}
		return os.OpenRoot(dest)
	}
	if _, err := os.Stat(filepath.Dir(filepath.Clean(dest))); err != nil {
		return nil, err
	}
	empty, err := os.MkdirTemp("", "mitogen-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(empty)
	return os.OpenRoot(empty)
}
