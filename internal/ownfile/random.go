package ownfile

import "encoding/hex"

// RandomName returns 16 hexadecimal digits that nothing can have guessed. It doesn't use
// crypto/rand, which is a twentieth of the agent.
func RandomName() string {
	var b [8]byte
	fillRandom(b[:])
	return hex.EncodeToString(b[:])
}
