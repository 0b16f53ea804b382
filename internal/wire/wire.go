// Package wire holds the frame format of docs/protocol/wire.md: constants, header codec, scanner.
// It is pure: bytes in, values or errors out.
package wire

// ContextID names a context in a tree; 0 is the engine.
type ContextID uint32

// Handle is the address of a frame inside a context.
type Handle uint32

// Kind says what a frame's payload is.
type Kind uint8

// Frame kinds (docs/protocol/wire.md section 1).
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

// Handles (docs/protocol/wire.md section 3).
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
	Session      Handle = 15
	Hello        Handle = 16
	Stdout       Handle = 17
	Stderr       Handle = 18
	Log          Handle = 19
	GetModule    Handle = 20
	Lost         Handle = 21
	Lacks        Handle = 22
	Dropped      Handle = 23
	GetFile      Handle = 24
	Do           Handle = 25
	Prepare      Handle = 26
	Want         Handle = 27
	Fan          Handle = 28
	FirstDynamic Handle = 1000
)

// Where context 0 is a program and an engine (docs/protocol/program.md section 11), these divide
// its numbers in two halves: the lower ones are the program's.
const (
	FirstEngineHandle Handle    = 1 << 31
	FirstEngineID     ContextID = 1 << 24 // of contexts that the engine makes on the way to a target
)

// Frame is one unit on a stream. This package doesn't copy Payload: the payload of a frame from a
// Scanner is valid until the Scanner's next Next.
type Frame struct {
	Kind    Kind
	Dst     ContextID
	Src     ContextID
	Auth    ContextID
	Handle  Handle
	Reply   Handle
	Payload []byte

	// not on the wire: other users of both machines may see it, as they see a command's arguments
	Public bool
	Secret bool // not on the wire: no copy is to be left behind
}
