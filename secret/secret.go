// Package secret keeps passwords and passphrases: out of what is printed, once in memory, and each
// for the place that it was given for.
//
//	Secret  is text that no format verb, encoding, log or error shows
//	Hold    keeps one in memory that isn't swapped, and wipes it when nothing refers to it any more
//	Place   says what a secret is for; a Source finds one for a place
//	Harden  keeps other processes of the user, and core dumps, out of this process's memory
package secret

import (
	"fmt"
	"io"
	"unsafe"
)

// A Secret is text that formatting and encoding don't show.
type Secret string

// Hidden is shown in place of a Secret.
const Hidden = "(secret)"

// String hides the text.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return Hidden
}

// GoString hides the text.
func (s Secret) GoString() string { return s.String() }

// Format hides the text from every verb, the wrong ones too; but for %p and %w, by which fmt calls
// no method, and which go vet finds.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// MarshalText hides the text, from JSON and XML too.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalBinary hides the text, from gob too.
func (s Secret) MarshalBinary() ([]byte, error) { return s.MarshalText() }

// Bytes returns the text as bytes, which share the memory of s: they must not be changed. It
// returns nil if there is no text.
func (s Secret) Bytes() []byte {
	if s == "" {
		return nil
	}
	return unsafe.Slice(unsafe.StringData(string(s)), len(s))
}

// Digest writes s to a hash, with its length before it. The hash keeps no byte of it: a block of
// zeros follows, which takes the place of what a hash holds until a block is full.
func (s Secret) Digest(w io.Writer) {
	fmt.Fprintf(w, "%d ", len(s))
	w.Write(s.Bytes())
	// Two writes: a block that is written whole does not go through what is held.
	w.Write(zeros[:1])
	w.Write(zeros[1:])
}

// zeros is as long as the longest block of a usual hash.
var zeros [128]byte
