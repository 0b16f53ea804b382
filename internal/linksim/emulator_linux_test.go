package linksim

import (
	"encoding/binary"
	"encoding/hex"
	"testing"
)

// A packet of TCP with 4 bytes of data, from 10.0.0.1:40000 to 10.0.0.2:22.
func packetOf(t *testing.T) []byte {
	t.Helper()
	b, err := hex.DecodeString("4500002c00004000400626ca0a0000010a000002" +
		"9c40001600000001000000025018200000000000" + "61626364")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// right tells whether both checksums of a packet are.
func right(s segment) bool {
	head := s.ip[:len(s.ip)-len(s.tcp)]
	return fold(sum(head)) == 0xffff &&
		fold(sum(s.ip[12:20])+6+uint32(len(s.tcp))+sum(s.tcp)) == 0xffff
}

func TestSegments(t *testing.T) {
	s, ok := parseTCP(packetOf(t))
	if !ok || string(s.data()) != "abcd" {
		t.Fatalf("got %v, %q", ok, s.data())
	}
	s.seal()
	if !right(s) {
		t.Error("the checksum isn't right")
	}
	for _, c := range []struct {
		back     bool
		from, to uint16
		seq      uint32
	}{{false, 40000, 22, 1}, {true, 22, 40000, 2}} {
		r, ok := parseTCP(s.reset(c.back))
		if !ok || !right(r) || r.tcp[13] != flagRST || len(r.data()) != 0 {
			t.Fatalf("back %v: %v %x", c.back, ok, r.ip)
		}
		from, to := binary.BigEndian.Uint16(r.tcp), binary.BigEndian.Uint16(r.tcp[2:])
		if seq := binary.BigEndian.Uint32(r.tcp[4:]); from != c.from || to != c.to || seq != c.seq {
			t.Errorf("back %v: from %d to %d, number %d", c.back, from, to, seq)
		}
	}
	for _, bad := range [][]byte{nil, packetOf(t)[:30], append([]byte{0x60}, packetOf(t)[1:]...)} {
		if _, ok := parseTCP(bad); ok {
			t.Errorf("%x is taken for TCP", bad)
		}
	}
}
