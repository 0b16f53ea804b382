//go:build !linux

package cli

import (
	"os"
	"syscall"
)

// createFile opens a file to be written from its beginning, as os.Create does, unless it is a link.
func createFile(name string, mode uint32) (*os.File, error) {
	return os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, os.FileMode(mode))
}
