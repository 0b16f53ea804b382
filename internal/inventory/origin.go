package inventory

import (
	"fmt"
	"path/filepath"
)

// An origin is a place in a source.
type origin struct {
	file   string // for errors
	source string // Ansible's inventory_file: an absolute path, or a list of hosts
	line   int
}

// where is "file:line", or the file where there are no lines.
func (o origin) where() string {
	if o.line == 0 {
		return o.file
	}
	return fmt.Sprintf("%s:%d", o.file, o.line)
}

func (o origin) bad(format string, args ...any) error {
	return &Error{File: o.file, Line: o.line, Text: fmt.Sprintf(format, args...)}
}

// dir is the value of inventory_dir, which is a text in any case.
func (o origin) dir() string {
	if !filepath.IsAbs(o.source) {
		return "None"
	}
	return filepath.Dir(o.source)
}
