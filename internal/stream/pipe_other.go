//go:build !linux

package stream

func setPipeSize(fd, n int) bool { return false }
