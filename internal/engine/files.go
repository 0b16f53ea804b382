package engine

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// maxFileName bounds what a GET_FILE asks for.
const maxFileName = 4096

// getFileLocked takes a GET_FILE.
func (c *Context) getFileLocked(f *wire.Frame) {
	if len(f.Payload) == 0 || len(f.Payload) > maxFileName || f.Reply < wire.FirstDynamic {
		c.reportLocked("request for a file refused", slog.Int("bytes", len(f.Payload)))
		return
	}
	c.serveLocked(request{handle: wire.GetFile, file: string(f.Payload), reply: f.Reply})
}

// answerFile answers a GET_FILE, as windows allow.
func (c *Context) answerFile(r request) {
	f := wire.Frame{Dst: c.id, Handle: r.reply}
	data, err := file(c.e.finder, r.file[0], r.file[1:])
	if err != nil {
		f.Kind, data = wire.Dead, []byte(err.Error())
	}
	c.sayFile(r.file, len(data), err == nil)
	f.Payload = data
	c.parts(c.e.base, &f) // the error is that c is gone
}

// sayFile counts and logs what went.
func (c *Context) sayFile(what string, size int, given bool) {
	c.e.mu.Lock()
	defer c.e.unlock()
	c.count.Files++
	c.traceLocked("file asked for", slog.String("what", fmt.Sprintf("%+q", what)), slog.Bool("given", given), slog.Int("bytes", size))
}

// file returns what a GET_FILE asks for.
func file(f *modules.Finder, letter byte, what string) ([]byte, error) {
	first, second, _ := strings.Cut(what, "\x00")
	var names []string
	var err error
	switch letter {
	case 'r':
		return packed(f.File(first, second))
	case 't':
		return packed(f.Metadata(first, second))
	case 'l':
		names, err = f.List(first, second)
	case 'd':
		names = f.Distributions(what)
	default:
		err = errors.New("no such kind of question")
	}
	return []byte(strings.Join(names, "\x00")), err
}

func packed(data []byte, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	w := zlib.NewWriter(&buf)
	w.Write(data) // to memory: no error
	w.Close()
	return buf.Bytes(), nil
}
