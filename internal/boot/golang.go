package boot

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// GoWord is the only argument of a Go program that is started as a context.
const GoWord = "mitogen:context"

// MaxGoHead bounds the head of a Go context in bytes, its newline included.
const MaxGoHead = 16 << 10

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

// goVersion is the version of the head and of what follows.
const goVersion = 1

// GoHead returns the line that configures a Go context, newline included.
func GoHead(c Config) []byte {
	name := []rune(c.Name)
	h := goHead{goVersion, c.ID, c.Parents, string(name[:min(len(name), 64)]), c.MaxMessage,
		c.Heartbeat, c.BusyTimeout, c.LogLevel}
	b, err := json.Marshal(h)
	if err != nil {
		panic(err) // numbers and text
	}
	return append(b, '\n')
}

// ParseGoHead reads a line that GoHead has made.
func ParseGoHead(line []byte) (Config, error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	var h goHead
	if err := d.Decode(&h); err != nil {
		return Config{}, fmt.Errorf("read head: %w", err)
	}
	switch {
	case h.Version != goVersion:
		return Config{}, fmt.Errorf("read head: got version %d, want %d", h.Version, goVersion)
	case h.ID == 0 || len(h.Parents) == 0 || h.Parents[len(h.Parents)-1] != 0:
		return Config{}, fmt.Errorf("read head: got id %d, parents %v, want a way to 0", h.ID, h.Parents)
	case h.MaxMessage <= 0 || h.Heartbeat < 0 || h.Busy < 0:
		return Config{}, fmt.Errorf("read head: got a limit or timeout out of range")
	}
	return Config{h.ID, h.Parents, h.Name, h.MaxMessage, h.Heartbeat, h.Busy, h.LogLevel}, nil
}
