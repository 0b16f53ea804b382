//go:build !linux

package ownfile

import "os"

// HasXattrs tells whether a sync can have Xattrs here.
const HasXattrs = false

func (d Dir) xattrs(string, bool) (xattrs, error) { return nil, ErrNoXattrs }

func readXattrs(*os.File) (xattrs, error) { return nil, ErrNoXattrs }

func setXattr(*os.File, string, string) error { return ErrNoXattrs }

func removeXattr(*os.File, string) error { return ErrNoXattrs }
