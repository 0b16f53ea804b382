package connect

import "context"

// Prompt is a question that a program asks while it connects.
type Prompt struct {
	Hop  string // whose program asks
	Kind PromptKind
	Text string // as the program words it, safe for a terminal
}

// PromptKind is a kind of question.
type PromptKind int

// The kinds.
const (
	PromptOther      PromptKind = iota // for instance a one-time code
	PromptPassword                     // of the account there
	PromptPassphrase                   // of a key
	PromptPIN                          // of a security key
	PromptHostKey                      // answer "yes", "no" or the fingerprint
	PromptConfirm                      // answer "yes", or anything else for no
	// nothing to answer: "touch the key". Its context ends when it has been done
	PromptNotice
)

var promptKinds = [...]string{"other", "password", "passphrase", "PIN", "host key", "confirm",
	"notice"}

// String names the kind.
func (k PromptKind) String() string { return promptKinds[k] }

// PromptFunc answers a question. An error refuses to. ctx ends when ssh doesn't want to know any
// more.
type PromptFunc func(ctx context.Context, p Prompt) (string, error)
