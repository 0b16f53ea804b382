package ownfile

import (
	"bytes"
	"testing"
)

// TestRandomDevice: a kernel without getrandom is asked by its device.
func TestRandomDevice(t *testing.T) {
	a, b := make([]byte, 16), make([]byte, 16)
	for _, into := range [][]byte{a, b} {
		if err := randomDevice(into); err != nil {
			t.Fatal(err)
		}
	}
	if bytes.Equal(a, b) {
		t.Errorf("bytes of /dev/urandom: got %x twice", a)
	}
}
