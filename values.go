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

	// SecretPlace says what a secret is for: its Kind (password or passphrase), the Method that asks,
	// the Target up to that hop, the Host and User, or the file of the Key.
	SecretPlace = secret.Place

	// Blob is bytes that aren't worth printing; mitogen.Blob in Python.
	Blob = pickle.Blob

	// Sender names a mailbox: a Receiver of the engine or of a context; mitogen.Sender in Python.
	Sender = pickle.Sender

	// ContextRef names a context in results; mitogen.Context in Python.
	ContextRef = pickle.Context
)

// What a result of type any, or a part of one, is made of besides nil, bool, int64, *big.Int,
// float64, complex128, string and []byte. Lists, dicts and sets are pointers, so that what is
// shared in Python is shared in Go.
//
// Other types of Python's standard library are sent in their plain forms (docs/json.md, "Other
// types"), for any and for all types that fit these:
//
//   - *Dict: named tuples, struct sequences such as os.stat_result, dataclasses, namespaces, and
//     all mappings. So they fit structs and maps.
//   - *List: ranges, deques, arrays, views of dicts, and other sequences
//   - string: paths, UUIDs, IP addresses, Decimal, Fraction, names of time zones; and datetime,
//     date and time in ISO 8601 (time.Parse reads "2006-01-02T15:04:05Z07:00", with any fraction)
//   - float64: a timedelta, in seconds
//   - []byte: a memoryview
//   - the member of an Enum: its value
//   - an error, for any: an exception
//
// What has no plain form is a *CallError, a TypeError whose text names the place in the value.
type (
	Tuple     = pickle.Tuple     // []any
	List      = pickle.List      // Items []any
	Dict      = pickle.Dict      // Entries []struct{ Key, Value any }, in their order
	Set       = pickle.Set       // Items []any, in no order
	FrozenSet = pickle.FrozenSet // Items []any, in no order
)
