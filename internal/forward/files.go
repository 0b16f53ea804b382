package forward

import (
	"errors"
	"strings"

	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// The kinds of questions about what packages have beside modules: docs/protocol.md, section 3,
// "GET_FILE".
const (
	fileData      = 'r'
	fileMetadata  = 't'
	fileList      = 'l'
	fileDistNames = 'd'
)

// File is the answer to such a question.
type File struct {
	Name string // what was asked for, of a directory with a slash behind; "" if it was neither
	Data []byte // must not be changed
	Size int    // bytes of the file
}

// errNoQuestion is the error for a question of no known kind.
var errNoQuestion = errors.New("no such kind of question")

// File answers a question of ctx. What ctx may not have is refused as if it weren't there.
func (f *Forwarder) File(ctx wire.ContextID, question string) (File, error) {
	g := f.grantOf(ctx)
	if g == nil || question == "" {
		return File{}, modules.ErrNoFile
	}
	r := reader{g, f}
	first, second, _ := strings.Cut(question[1:], "\x00")
	switch question[0] {
	case fileData:
		data, size, err := f.finder.File(r, first, second)
		return File{first + "/" + second, data, size}, err
	case fileMetadata:
		data, size, err := f.finder.Metadata(r, first, second)
		return File{first + "/" + second, data, size}, err
	case fileList:
		names, err := f.finder.List(r, first, second)
		return File{Name: strings.TrimRight(first+"/"+second, "/") + "/", Data: joined(names)}, err
	case fileDistNames:
		return File{Data: joined(f.finder.Distributions(r, question[1:]))}, nil
	}
	return File{}, errNoQuestion
}

func joined(names []string) []byte { return []byte(strings.Join(names, "\x00")) }
