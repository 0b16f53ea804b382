package ownfile

import "hash"

// cksum computes the CRC of POSIX's cksum, which the length is a part of.
type cksum struct {
	crc    uint32
	length uint64
}

// NewCksum returns the hash of POSIX's cksum. Its Sum has 4 bytes, the high ones first.
func NewCksum() hash.Hash32 { return &cksum{} }

// cksumTable has the CRC of each byte, for the polynomial 0x04C11DB7, high bits first.
var cksumTable = func() (table [256]uint32) {
	for i := range table {
		c := uint32(i) << 24
		for range 8 {
			high := c >> 31
			c = c<<1 ^ high*0x04c11db7
		}
		table[i] = c
	}
	return table
}()

func (c *cksum) Write(b []byte) (int, error) {
	for _, x := range b {
		c.crc = c.crc<<8 ^ cksumTable[byte(c.crc>>24)^x]
	}
	c.length += uint64(len(b))
	return len(b), nil
}

func (c *cksum) Sum32() uint32 {
	crc := c.crc
	for n := c.length; n > 0; n >>= 8 {
		crc = crc<<8 ^ cksumTable[byte(crc>>24)^byte(n)]
	}
	return ^crc
}

func (c *cksum) Sum(b []byte) []byte {
	s := c.Sum32()
	return append(b, byte(s>>24), byte(s>>16), byte(s>>8), byte(s))
}

func (c *cksum) Reset()         { *c = cksum{} }
func (c *cksum) Size() int      { return 4 }
func (c *cksum) BlockSize() int { return 1 }
