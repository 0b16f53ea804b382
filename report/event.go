package report

import "time"

// EventKind says what an Event is about.
type EventKind string

// The kinds of events. EventConnect, EventCall, EventRun, EventExec and EventService are told
// before they happen, all other kinds once they have.
const (
	EventConnect EventKind = "connect" // a context, or a lone command, is about to be started
	EventUp      EventKind = "up"      // a context has answered: Host and User are its own words
	EventGone    EventKind = "gone"    // a context is gone, or did not get up
	EventPrompt  EventKind = "prompt"  // a question of a connect has an answer, or none
	EventModule  EventKind = "module"  // a Python module was given to a context, or refused to it
	EventFile    EventKind = "file"    // a file of a package, or of its metadata, was
	EventRefused EventKind = "refused" // something else that a context has sent was refused
	EventCall    EventKind = "call"    // a function is about to be called
	EventRun     EventKind = "run"     // a script or module is about to be run
	EventExec    EventKind = "exec"    // a program is about to be run
	EventService EventKind = "service" // a context is about to fork, connect, or serve something
	EventEnd     EventKind = "end"     // a call, run or exec has ended
)

// Event is something that an engine tells of itself, for an audit log. It holds names, never
// arguments, results or secrets. Its text is on one line and safe for a terminal. docs/json.md says
// more about each kind.
type Event struct {
	Time    time.Time
	Kind    EventKind
	Engine  uint32 // number of the engine in this process: 1 is the first audited engine
	ID      uint32 // 0: there is no context
	Parent  uint32 // of what started it or made its connection; 0: the engine
	Context string // the context's name: the target up to it
	Method  string // connect

	// Host is for connect what is entered, as in the target, for up what the context says, for
	// prompt who asks. User is for connect the account, as in the target, for up the user's number.
	Host, User string

	// Name is the name of a function, script, program, service or module. It may also be a file's
	// package and path, a prompt's kind, or the name of a refused thing.
	Name string

	// prompt: answered, provided, refused; gone: closed, failed, lost; end: well, failed
	Outcome string
	Reason  string // of an outcome or a refusal
	Bytes   int64  // module, file
	Refused bool   // module, file
	Count   int    // of this context's refusals so far: of many only some are told
	Status  int    // end: exit status of a run or exec
	Call    uint64 // of a call, run or exec: begin and end have the same number
}
