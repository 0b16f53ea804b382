package ownfile

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Dir is a directory of this machine, whose names may be any bytes. Files are opened without
// following a link, and a pipe isn't waited for.
type Dir string

func (d Dir) at(name string) string { return filepath.Join(string(d), name) }

func (d Dir) Open(name string) (fs.File, error) {
	return os.OpenFile(d.at(name), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
}

func (d Dir) Stat(name string) (fs.FileInfo, error)      { return os.Lstat(d.at(name)) }
func (d Dir) Lstat(name string) (fs.FileInfo, error)     { return os.Lstat(d.at(name)) }
func (d Dir) ReadLink(name string) (string, error)       { return os.Readlink(d.at(name)) }
func (d Dir) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(d.at(name)) }

var _ interface {
	fs.StatFS
	fs.ReadDirFS
	fs.ReadLinkFS
} = Dir("")
