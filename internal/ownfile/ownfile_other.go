//go:build !linux

// Package ownfile opens files that this process writes, unless the last name is a link.
package ownfile

import (
	"os"
	"syscall"
)

const flags = os.O_WRONLY | os.O_CREATE | syscall.O_NOFOLLOW

// Create opens a file to be written from its beginning, as os.Create does.
func Create(name string, mode uint32) (*os.File, error) {
	return os.OpenFile(name, flags|os.O_TRUNC, os.FileMode(mode))
}

// Append opens a file to be written behind its end.
func Append(name string, mode uint32) (*os.File, error) {
	return os.OpenFile(name, flags|os.O_APPEND|syscall.O_NONBLOCK, os.FileMode(mode))
}
