// Package wire holds the frame format of docs/protocol.md: constants, header codec, scanner.
// It is pure: bytes in, values or errors out.
package wire

// ContextID names a context in a tree; 0 is the engine.
type ContextID uint32

// Handle is what a frame is addressed to inside a context.
type Handle uint32

// Kind says what a frame's payload is.
type Kind uint8

// Frame kinds (docs/protocol.md section 1).
const (
	Data Kind = iota
	Dead
	Error
	Item
	Part
)

// Sizes and limits of frames.
const (
	HeaderSize  = 28
	TrailerSize = 2
	MaxPayload  = 128 << 10
	Window      = 1 << 20   // bytes of a flow that may be on the way
	MaxMessage  = 128 << 20 // default limit of a value put together from parts
	MaxNoise    = 1 << 20   // foreign bytes in a row that are skipped
)

// Handles (docs/protocol.md section 3).
const (
	Call         Handle = 1
	Cancel       Handle = 2
	Credit       Handle = 3
	Stdin        Handle = 4
	LoadModule   Handle = 5
	Connect      Handle = 6
	Shutdown     Handle = 7
	Ping         Handle = 8
	Kill         Handle = 9
	BundlePiece  Handle = 10
	Forward      Handle = 11
	Ask          Handle = 12
	Coming       Handle = 13
	Open         Handle = 14
	Hello        Handle = 16
	Stdout       Handle = 17
	Stderr       Handle = 18
	Log          Handle = 19
	GetModule    Handle = 20
	Lost         Handle = 21
	Lacks        Handle = 22
	Dropped      Handle = 23
	GetFile      Handle = 24
	FirstDynamic Handle = 1000
)

// Frame is one unit on a stream. Payload is not copied by this package: that of a
// frame from a Scanner is valid until the Scanner's next Next.
type Frame struct {
	Kind    Kind
	Dst     ContextID
	Src     ContextID
	Auth    ContextID
	Handle  Handle
	Reply   Handle
	Payload []byte

	Public bool // not on the wire: others on both machines may see it, as they see a command's arguments
	Secret bool // not on the wire: no copy is to be left behind
}
