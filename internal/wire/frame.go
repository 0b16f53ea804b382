package wire

import (
	"encoding/binary"
	"fmt"
	"iter"
)

const (
	magic   = "\xf1MG"
	trailer = "G\xf1"
)

// Size returns the bytes that f takes on a stream.
func (f *Frame) Size() int { return HeaderSize + len(f.Payload) + TrailerSize }

// Append appends f as it stands on a stream. It panics if the payload is longer than MaxPayload;
// see Split.
func (f *Frame) Append(dst []byte) []byte {
	dst = f.AppendHeader(dst)
	dst = append(dst, f.Payload...)
	return AppendTrailer(dst)
}

// AppendHeader appends what comes before the payload, for senders that don't want to copy that. It
// panics as Append does.
func (f *Frame) AppendHeader(dst []byte) []byte { return f.appendHeader(dst, len(f.Payload)) }

// AppendHead appends header and payload of a frame whose payload goes on with n more bytes. It
// panics as Append does.
func (f *Frame) AppendHead(dst []byte, n int) []byte {
	return append(f.appendHeader(dst, len(f.Payload)+n), f.Payload...)
}

func (f *Frame) appendHeader(dst []byte, length int) []byte {
	if length > MaxPayload {
		panic(fmt.Sprintf("wire: payload of %d bytes in one frame", length))
	}
	dst = append(dst, magic...)
	dst = append(dst, byte(f.Kind))
	for _, n := range [...]uint32{uint32(f.Dst), uint32(f.Src), uint32(f.Auth), uint32(f.Handle),
		uint32(f.Reply), uint32(length)} {
		dst = binary.BigEndian.AppendUint32(dst, n)
	}
	return dst
}

// AppendTrailer appends what comes behind the payload.
func AppendTrailer(dst []byte) []byte { return append(dst, trailer...) }

// Split yields the frames that carry f's payload, however long it is: PART frames, and last one of
// f's kind. They share f's memory.
func (f Frame) Split() iter.Seq[Frame] {
	return func(yield func(Frame) bool) {
		rest := f.Payload
		for len(rest) > MaxPayload {
			part := f
			part.Kind, part.Payload = Part, rest[:MaxPayload]
			if !yield(part) {
				return
			}
			rest = rest[MaxPayload:]
		}
		last := f
		last.Payload = rest
		yield(last)
	}
}

// parseHeader reads the fields behind the magic; b has at least HeaderSize bytes. The payload is
// left out.
func parseHeader(b []byte) (f Frame, length int, err error) {
	u32 := func(at int) uint32 { return binary.BigEndian.Uint32(b[at:]) }
	f = Frame{
		Kind: Kind(b[3]), Dst: ContextID(u32(4)), Src: ContextID(u32(8)), Auth: ContextID(u32(12)),
		Handle: Handle(u32(16)), Reply: Handle(u32(20)),
	}
	if f.Kind > Part {
		return f, 0, fmt.Errorf("unknown kind %d", b[3])
	}
	if n := u32(24); n > MaxPayload {
		return f, 0, fmt.Errorf("payload of %d bytes", n)
	}
	return f, int(u32(24)), nil
}

var kindNames = [...]string{Data: "DATA", Dead: "DEAD", Error: "ERROR", Item: "ITEM", Part: "PART"}

// String returns the name that docs/protocol/wire.md uses.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

var handleNames = map[Handle]string{
	Call: "CALL", Cancel: "CANCEL", Credit: "CREDIT", Stdin: "STDIN", LoadModule: "LOAD_MODULE",
	Connect:  "CONNECT",
	Shutdown: "SHUTDOWN", Ping: "PING", Kill: "KILL", Hello: "HELLO", Stdout: "STDOUT",
	Stderr: "STDERR", Log: "LOG",
	GetModule: "GET_MODULE", Lost: "LOST", BundlePiece: "BUNDLE", Forward: "FORWARD", Ask: "ASK",
	Coming: "COMING", Open: "OPEN",
	Session: "SESSION", Lacks: "LACKS", Dropped: "DROPPED", GetFile: "GET_FILE", Do: "DO",
	Prepare: "PREPARE", Want: "WANT",
	Fan: "FAN",
}

// String returns the name that docs/protocol/wire.md uses, or the number.
func (h Handle) String() string {
	if name, ok := handleNames[h]; ok {
		return name
	}
	return fmt.Sprintf("%d", uint32(h))
}

// String describes f on one line, without its payload.
func (f Frame) String() string {
	s := fmt.Sprintf("%v %d->%d %v", f.Kind, f.Src, f.Dst, f.Handle)
	if f.Auth != f.Src {
		s += fmt.Sprintf(" auth %d", f.Auth)
	}
	if f.Reply != 0 {
		s += fmt.Sprintf(" reply %d", uint32(f.Reply))
	}
	return s + fmt.Sprintf(" %d bytes", len(f.Payload))
}
