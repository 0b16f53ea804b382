package cli

import (
	"bytes"
	"encoding/json"
	"testing"
)

// A record in pieces is the record on one line, whatever its host is called.
func TestRecordInPieces(t *testing.T) {
	for _, host := range []string{"web1", "", `a"b\c`, "\x1b]0;x\x07", "<&>", "ä\u202e\u009b", "\xff",
		`","result":0`} {
		for _, result := range []string{"1", `"text"`, `{"result":0,"host":"x"}`, `[0,0]`} {
			r := record{Host: host, Result: json.RawMessage(result), Seconds: recordTimes{}}
			got, want := bytes.Join(r.pieces(), nil), safeJSON(r, "")
			if !bytes.Equal(got, want) {
				t.Errorf("host %q, result %s: got %s, want %s", host, result, got, want)
			}
		}
	}
}
