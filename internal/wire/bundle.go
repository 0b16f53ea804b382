package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// BundleID names a bundle: the first 16 bytes of the SHA-256 of its text.
type BundleID [16]byte

// maxNames bounds the names in an ASK or LACKS.
const maxNames = 4096

// bundleHeader is the size of what stands before the bytes in a Piece.
const bundleHeader = 16 + 4 + 4

// PieceSize is the number of bytes of a bundle that fit a frame.
const PieceSize = MaxPayload - bundleHeader

// Piece is the payload of BUNDLE: Data of a zlib stream of Total bytes, from Offset on.
type Piece struct {
	ID            BundleID
	Total, Offset uint32
	Data          []byte
}

// Append appends p.
func (p *Piece) Append(dst []byte) []byte {
	return append(AppendU32(AppendU32(append(dst, p.ID[:]...), p.Total), p.Offset), p.Data...)
}

// ParsePiece reads what Piece.Append wrote. Data shares b's memory.
func ParsePiece(b []byte) (Piece, error) {
	if len(b) <= bundleHeader {
		return Piece{}, fmt.Errorf("parse bundle: %d bytes", len(b))
	}
	p := Piece{Total: binary.BigEndian.Uint32(b[16:]), Offset: binary.BigEndian.Uint32(b[20:]),
		Data: b[bundleHeader:]}
	copy(p.ID[:], b)
	if uint64(p.Offset)+uint64(len(p.Data)) > uint64(p.Total) {
		return Piece{}, errors.New("parse bundle: more bytes than announced")
	}
	return p, nil
}

// AppendForward appends the payload of FORWARD and DROPPED: a bundle, and the context it is for.
func AppendForward(dst []byte, id BundleID, ctx ContextID) []byte {
	return AppendU32(append(dst, id[:]...), ctx)
}

// ParseForward reads what AppendForward wrote.
func ParseForward(b []byte) (id BundleID, ctx ContextID, err error) {
	if len(b) != len(id)+4 {
		return id, 0, fmt.Errorf("parse forward: %d bytes, not 20", len(b))
	}
	copy(id[:], b)
	return id, ContextID(binary.BigEndian.Uint32(b[len(id):])), nil
}

// AppendComing appends the payload of COMING: how many LACKS it answers, and the bundles that are
// on their way.
func AppendComing(dst []byte, answers int, ids []BundleID) []byte {
	dst = AppendU32(dst, uint32(answers))
	for _, id := range ids {
		dst = append(dst, id[:]...)
	}
	return dst
}

// ParseComing reads what AppendComing wrote.
func ParseComing(b []byte) (answers int, ids []BundleID, err error) {
	if len(b) < 4 || (len(b)-4)%16 != 0 {
		return 0, nil, fmt.Errorf("parse coming: %d bytes", len(b))
	}
	answers = int(binary.BigEndian.Uint32(b))
	for b = b[4:]; len(b) > 0; b = b[16:] {
		ids = append(ids, BundleID(b[:16]))
	}
	return answers, ids, nil
}

// AppendNames appends the payload of ASK and LACKS: dotted names, a zero byte between them.
func AppendNames(dst []byte, names []string) []byte {
	return append(dst, strings.Join(names, "\x00")...)
}

// ParseNames reads what AppendNames wrote.
func ParseNames(b []byte) ([]string, error) {
	if len(b) == 0 {
		return nil, nil
	}
	names := strings.SplitN(string(b), "\x00", maxNames+1)
	if len(names) > maxNames {
		return nil, fmt.Errorf("parse names: more than %d", maxNames)
	}
	return names, nil
}
