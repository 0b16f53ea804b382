package goctx

import (
	"errors"
	"fmt"
	"strings"

	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/pyvalue"
)

// specLimits bound what asks for a session or a connection.
var specLimits = pickle.Limits{Nodes: 1 << 17, Depth: 4}

// sessionSpec is the dict of SESSION's first frame. Names of the system's are bytes.
type sessionSpec struct {
	Argv    [][]byte
	Command []byte
	Module  string
	Env     [][2][]byte
	Cwd     []byte
	Login   bool
	Null    bool
	Err     uint32
	Pty     pyvalue.Tuple
	Wait    *int64
	Agent   uint32
	Last    bool
}

// errBadSpec says that a request has another form than an engine's.
var errBadSpec = errors.New("read request")

func parseSession(b []byte) (*sessionSpec, error) {
	spec := &sessionSpec{}
	if err := pickle.Unmarshal(b, specLimits, spec); err != nil {
		return nil, fmt.Errorf("%w: %w", errBadSpec, err)
	}
	for _, word := range spec.words() {
		if strings.IndexByte(string(word), 0) >= 0 {
			return nil, fmt.Errorf("%w: a name has a zero byte", errBadSpec)
		}
	}
	if spec.Pty != nil {
		if _, _, err := spec.terminal(); err != nil {
			return nil, err
		}
	}
	return spec, nil
}

// words returns all that the system gets as text.
func (spec *sessionSpec) words() [][]byte {
	all := append([][]byte{spec.Command, spec.Cwd}, spec.Argv...)
	for _, pair := range spec.Env {
		all = append(all, pair[0], pair[1])
	}
	return all
}

// A windowSize has the figures of a terminal: rows, columns, and the same in pixels.
type windowSize [4]uint16

// terminal returns the type and the size of the terminal that is asked for.
func (spec *sessionSpec) terminal() (kind string, size windowSize, err error) {
	b, ok := []byte(nil), len(spec.Pty) == 1+len(size)
	if ok {
		b, ok = spec.Pty[0].([]byte)
	}
	for i := range size {
		n := int64(-1)
		if ok {
			n, ok = spec.Pty[1+i].(int64)
		}
		ok = ok && n >= 0 && n < 1<<16
		size[i] = uint16(n)
	}
	if !ok || strings.IndexByte(string(b), 0) >= 0 {
		return "", size, fmt.Errorf("%w: pty is no type and size of a terminal", errBadSpec)
	}
	return string(b), size, nil
}
