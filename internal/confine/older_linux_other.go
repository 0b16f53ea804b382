//go:build linux && !amd64

package confine

var older []uint32
