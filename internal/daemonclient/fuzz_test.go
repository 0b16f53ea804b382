package daemonclient

import (
	"bytes"
	"encoding/json"
	"io"
	"testing"
)

type fixed struct {
	io.Reader
	io.Writer
}

// FuzzFirstMessage checks that what a client says first, and what a daemon answers, is read or
// refused, and means the same once it is passed on.
func FuzzFirstMessage(f *testing.F) {
	for _, s := range []string{
		`{"op":"open","version":"1","target":"web1+sudo","options":{"ssh":{"port":22,"password":"p"}},` +
			`"interactive":true}`,
		`{"op":"call","target":"a","function":"m:f","args":[1,{"$bytes":"eA=="}],"kwargs":{"a":null},` +
			`"path":["/x"]}`,
		`{"op":"run","target":"a","argv":["x"],"size":3}` + "\nabc",
		`{"op":"put","target":"a","name":"/x","mode":420}`, `{"op":"list"}`,
		`{"end":{"error":{"kind":"lost","hop":"a","why":"b","code":"offences"}}}`,
		`{"prompt":{"hop":"a","kind":"password","text":"p: "}}`,
		`{"origin":{"dir":"/","env":{"HOME":null}},"op":"connect"}`,
	} {
		f.Add([]byte(s + "\n"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := NewChannel(fixed{bytes.NewReader(b), io.Discard})
		for {
			m, err := c.Receive(nil)
			if err != nil {
				return
			}
			m.Options.Connect()
			if m.End != nil && m.End.Error != nil {
				FailureOf(m.End.Error.Err())
			}
			line, err := json.Marshal(m)
			if err != nil {
				t.Fatalf("encode the message of %q again: %v", b, err)
			}
			again := &Message{}
			if err := json.Unmarshal(line, again); err != nil {
				t.Fatalf("%q is %q, which is refused: %v", b, line, err)
			}
		}
	})
}
