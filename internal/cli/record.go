package cli

import (
	"bytes"
	"encoding/json"

	"github.com/mitogen-go/mitogen/internal/jsonvalue"
	"github.com/mitogen-go/mitogen/report"
)

// record is a line of --json: what came of one target. Its text holds nothing that a terminal would
// act on.
type record struct {
	Host      string          `json:"host"`
	Result    json.RawMessage `json:"result,omitempty"` // call: the value
	Status    *int            `json:"status,omitempty"` // run, exec: exit status
	Copied    *copied         `json:"copied,omitempty"` // put, get
	Stdout    json.RawMessage `json:"stdout,omitempty"` // text, or {"$bytes": …} if it isn't UTF-8
	Stderr    json.RawMessage `json:"stderr,omitempty"`
	Truncated bool            `json:"truncated,omitempty"` // output was longer than 16 MiB
	Error     *problem        `json:"error,omitempty"`
	Seconds   recordTimes     `json:"seconds"`
	Modules   *moduleCounts   `json:"modules,omitempty"` // nil: none were sent, or asked for
	Given     *given          `json:"given,omitempty"`   // nil: nothing was given or refused
}

// moduleCounts counts the modules that a context was sent, and their cost.
type moduleCounts struct {
	Call      int   `json:"call"` // modules, by the reason for which they were sent, as in --stats
	Bundle    int   `json:"bundle"`
	Asked     int   `json:"asked"`
	Learned   int   `json:"learned"`
	Bytes     int64 `json:"bytes"`     // compressed
	Questions int64 `json:"questions"` // each a round trip
	Requests  int64 `json:"requests"`  // likewise
}

// recordTimes are in seconds, from the target's start.
type recordTimes struct {
	Connect *float64 `json:"connect,omitempty"` // until the context was up
	Total   float64  `json:"total"`
}

// printJSON prints h as one line.
func (h *host) printJSON(r record) {
	r.Host = h.target
	r.Error = h.problem()
	r.Seconds = recordTimes{phase(h.connecting), seconds(h.took)}
	if h.context != nil {
		s := h.context.Stats()
		r.Modules, r.Given = countModules(s), givenOf(s)
	}
	if out, ok := h.stdout.(*captured); ok {
		r.Stdout, r.Truncated = out.json(), out.truncated
	}
	if out, ok := h.stderr.(*captured); ok {
		r.Stderr, r.Truncated = out.json(), r.Truncated || out.truncated
	}
	ui := h.fleet.s.ui
	if len(r.Result) < largeResult {
		ui.json(ui.out, r, "") // what is raw was made by us
		return
	}
	ui.writeAll(ui.out, r.pieces()...)
}

// largeResult is the size in bytes from which on a result is not copied into its record.
const largeResult = 1 << 20

// pieces are the line of a record, with its result as one of them.
func (r record) pieces() [][]byte {
	result := r.Result
	r.Result = json.RawMessage("0")
	line := safeJSON(r, "")
	head := len(`{"host":`) + len(bytes.TrimSuffix(safeJSON(r.Host, ""), []byte("\n"))) +
		len(`,"result":`)
	return [][]byte{line[:head], result, line[head+1:]}
}

func countModules(s report.Stats) *moduleCounts {
	if len(s.Sent) == 0 && s.Questions == 0 && s.Asked == 0 {
		return nil
	}
	f := forwardedOf(s)
	return &moduleCounts{len(f.Call), len(f.Bundle), len(f.Asked), len(f.Learned), f.Compressed,
		f.Questions,
		f.Requests}
}

// json is text if it is UTF-8, else bytes; nothing if there is none.
func (c *captured) json() json.RawMessage {
	if len(c.data) == 0 {
		return nil
	}
	return jsonvalue.Text(c.data)
}
