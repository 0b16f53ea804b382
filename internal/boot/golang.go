package boot

import (
	"encoding/json"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// GoWord is the only argument of a Go program that is started as a context.
const GoWord = wire.GoWord

// goHead is the head of a Go context as JSON.
type goHead struct {
	Version    int      `json:"version"`
	ID         uint32   `json:"id"`
	Parents    []uint32 `json:"parents"`
	Name       string   `json:"name"`
	MaxMessage int      `json:"max_message"`
	Heartbeat  int      `json:"heartbeat"`
	Busy       int      `json:"busy"`
	LogLevel   int      `json:"log_level"`
}

// GoHead returns the line that configures a Go context, newline included.
func GoHead(c Config) []byte {
	name := []rune(c.Name)
	h := goHead{wire.GoVersion, c.ID, c.Parents, string(name[:min(len(name), 64)]), c.MaxMessage,
		c.Heartbeat, c.BusyTimeout, c.LogLevel}
	b, err := json.Marshal(h)
	if err != nil {
		panic(err) // numbers and text
	}
	return append(b, '\n')
}
