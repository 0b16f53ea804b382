package mitogen

import (
	"github.com/mitogen-go/mitogen/internal/connect"
	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/secret"
)

// Values that Python and Go don't have in common, as arguments and results of calls.
type (
	// Secret is text that formatting and encoding don't show; mitogen.Secret in Python.
	Secret = connect.Secret

	// SecretPlace says what a secret is for: its Kind (password or passphrase), the Method that asks, the Target
	// up to that hop, the Host and User, or the file of the Key.
	SecretPlace = secret.Place

	// Blob is bytes that aren't worth printing; mitogen.Blob in Python.
	Blob = pickle.Blob

	// Sender names a mailbox: a Receiver of the engine or of a context; mitogen.Sender in Python.
	Sender = pickle.Sender

	// ContextRef names a context in results; mitogen.Context in Python.
	ContextRef = pickle.Context
)

// What a result of type any, or a part of one, is made of besides nil, bool, int64, *big.Int, float64, complex128, string and
// []byte. Lists, dicts and sets are pointers, so that what is shared in Python is shared in Go.
type (
	Tuple     = pickle.Tuple     // []any
	List      = pickle.List      // Items []any
	Dict      = pickle.Dict      // Entries []struct{ Key, Value any }, in their order
	Set       = pickle.Set       // Items []any, in no order
	FrozenSet = pickle.FrozenSet // Items []any, in no order
)
