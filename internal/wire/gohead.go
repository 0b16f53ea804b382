package wire

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// GoWord is the only argument of a Go program that is started as a context.
const GoWord = "mitogen:context"

// GoReady is the line that a starting context prints before it reads anything: EC0.
const GoReady = "MITO-EC0"

// MaxGoHead bounds a head in bytes, its newline included.
const MaxGoHead = 16 << 10

// GoVersion is the version of the head and of what follows.
const GoVersion = 1

// A GoHead holds the settings of a Go context; boot.Config has the same fields.
type GoHead struct {
	ID         uint32
	Parents    []uint32
	Name       string
	MaxMessage int
	// Heartbeat and BusyTimeout are in seconds; 0: off, both.
	Heartbeat, BusyTimeout int
	LogLevel               int
}

// ErrVersion says that engine and program have different versions of the protocol.
var ErrVersion = errors.New("engine and program are of different versions of mitogen")

// errGoHead says that a head is no line that an engine has written.
var errGoHead = errors.New("read head: it is no object of numbers and texts")

// ParseGoHead reads the head of a Go context. The version comes first, so that a head of another
// version is told as that.
func ParseGoHead(line []byte) (c GoHead, err error) {
	p := &goHeadParser{rest: string(bytes.TrimRight(line, "\r\n"))}
	p.demand("{")
	if p.key() != "version" || p.failed {
		return GoHead{}, errGoHead
	}
	if v := p.number(math.MinInt32, math.MaxInt32); v != GoVersion {
		return GoHead{}, fmt.Errorf("read head: got version %d, want %d: %w", v, GoVersion, ErrVersion)
	}
	for p.accept(",") {
		switch key := p.key(); key {
		case "id":
			c.ID = uint32(p.number(1, math.MaxUint32))
		case "parents":
			c.Parents = p.numbers()
		case "name":
			c.Name = p.text()
		case "max_message":
			c.MaxMessage = int(p.number(1, math.MaxInt))
		case "heartbeat":
			c.Heartbeat = int(p.number(0, math.MaxInt32))
		case "busy":
			c.BusyTimeout = int(p.number(0, math.MaxInt32))
		case "log_level":
			c.LogLevel = int(p.number(math.MinInt32, math.MaxInt32))
		default:
			p.failed = true
		}
	}
	p.demand("}")
	switch {
	case p.failed || p.rest != "":
		err = errGoHead
	case len(c.Parents) == 0 || c.Parents[len(c.Parents)-1] != 0:
		err = fmt.Errorf("read head: got id %d, parents %v, want a way to 0", c.ID, c.Parents)
	case c.ID == 0 || c.MaxMessage == 0:
		err = errors.New("read head: got no id or no limit")
	}
	if err != nil {
		return GoHead{}, err
	}
	return c, nil
}

// A goHeadParser reads the JSON that encoding/json writes of an object: without white space, with
// text whose escapes are Go's. The package encoding/json would be a tenth of the agent.
type goHeadParser struct {
	rest   string
	failed bool
}

// accept takes a word, if it comes next.
func (p *goHeadParser) accept(word string) bool {
	rest, ok := strings.CutPrefix(p.rest, word)
	if ok {
		p.rest = rest
	}
	return ok && !p.failed
}

func (p *goHeadParser) demand(word string) {
	if !p.accept(word) {
		p.failed = true
	}
}

// key takes a name and its colon.
func (p *goHeadParser) key() string {
	name := p.text()
	p.demand(":")
	return name
}

func (p *goHeadParser) text() string {
	quoted, err := strconv.QuotedPrefix(p.rest)
	text := ""
	if err == nil && quoted[0] == '"' {
		text, err = strconv.Unquote(quoted)
	}
	if err != nil || quoted[0] != '"' {
		p.failed = true
		return ""
	}
	p.rest = p.rest[len(quoted):]
	return text
}

// number takes a whole number from low to high.
func (p *goHeadParser) number(low, high int64) int64 {
	end := 0
	for end < len(p.rest) && (p.rest[end] == '-' || p.rest[end] >= '0' && p.rest[end] <= '9') {
		end++
	}
	n, err := strconv.ParseInt(p.rest[:end], 10, 64)
	if err != nil || n < low || n > high {
		p.failed = true
	}
	p.rest = p.rest[end:]
	return n
}

// numbers takes a list of numbers below 1<<32.
func (p *goHeadParser) numbers() (all []uint32) {
	p.demand("[")
	for !p.failed && !p.accept("]") {
		if all != nil {
			p.demand(",")
		}
		all = append(all, uint32(p.number(0, math.MaxUint32)))
	}
	return all
}
