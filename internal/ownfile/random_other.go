//go:build !linux

package ownfile

import "crypto/rand"

func fillRandom(b []byte) { rand.Read(b) }
