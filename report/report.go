// Package report holds what an engine reports to the program: facts and figures of contexts, events
// for an audit log, and the errors that end calls and contexts. The errors of a connect are in
// package connect.
package report

import "time"

// Info holds the facts that a context reports when it starts.
type Info struct {
	// Of its interpreter.
	Version        [3]int
	Implementation string // cpython, pypy
	Platform       string // sys.platform
	Executable     string

	// Of its process.
	UID      int
	Hostname string
	PID      int

	// Of a Go context, else "".
	Machine   string // GOARCH
	Functions string // tells its functions from those of another program
}

// Stats counts what passed between the engine and one context. For a context next to the engine it
// counts all that passed the stream, boot and further hops included.
type Stats struct {
	ID, Parent           uint32 // numbers of the context and of the one before it; the engine is 0
	Name                 string // the target that names the context
	BytesDown, BytesUp   int64
	FramesDown, FramesUp int64
	RoundTrips           int64 // times that something came up after something had gone down
	Modules, Calls       int64

	// Times from the start of the context to a phase; 0: not yet.
	Spawn  time.Duration // its command was started, or sent to its hop
	EC0    time.Duration // an interpreter was there; next to the engine only
	Hello  time.Duration // the runtime was up
	Result time.Duration // the first result of a call came
	Steps  []Step        // on a console

	ModuleStats
}

// Step is a part of the start of a context on a console.
type Step struct {
	Name  string
	After time.Duration // when it was done, counted from the beginning of the start
}

// ModuleStats counts the cost of the modules that a context was sent, those of the runtime left
// out.
type ModuleStats struct {
	Sent       []Sent // which, and why, in order
	Found      int64  // bytes of their files
	Minified   int64  // bytes of what was made of these
	Compressed int64  // bytes that went on the way
	Native     int64  // bytes of the extension modules and libraries among these files
	Budget     int64  // bytes of these that the context may be sent
	Negative   int64  // answers that there is no module

	// Each of these takes a round trip.
	Questions int64 // times that the context was asked what it lacks
	Asked     int64 // times that it asked for a module
	Files     int64 // times that it asked for data, listings or metadata of packages

	Given   []File        // files of packages and of their metadata that it was given, sorted
	Refused int64         // modules and files that it asked for and may not have
	Scan    time.Duration // for finding out what is needed
	Pack    time.Duration // for compressing, and deciding
}

// Reason says what a module was sent for.
type Reason string

// The reasons.
const (
	SentCall   Reason = "call"   // one of the user's own, with a call
	SentBundle Reason = "bundle" // third-party: the context has said that it lacks it
	SentAsked  Reason = "asked"  // the context has asked for it, or for what needs it, alone
	// with a call, because another context had asked for it during such a call
	SentLearned Reason = "learned"
)

// Sent is a module that a context was sent.
type Sent struct {
	Name   string
	Reason Reason
}

// File is a file that a context was given.
type File struct {
	Path  string // package/path, distribution directory/name, or, of a Go program, go:GOOS/GOARCH
	Bytes int64
}
