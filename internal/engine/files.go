package engine

import (
	"log/slog"

	"github.com/mitogen-go/mitogen/internal/forward"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/report"
)

// maxFileName bounds what a GET_FILE asks for.
const maxFileName = 4096

// getFileLocked takes a GET_FILE.
func (c *Context) getFileLocked(f *wire.Frame) {
	if len(f.Payload) == 0 || len(f.Payload) > maxFileName || f.Reply < wire.FirstDynamic {
		c.reportLocked("request for a file refused", slog.Int("bytes", len(f.Payload)))
		return
	}
	c.serveLocked(request{handle: wire.GetFile, file: string(f.Payload), reply: f.Reply,
		during: c.runningLocked()})
}

// answerFile answers a GET_FILE, as windows allow.
func (c *Context) answerFile(r request) {
	f := wire.Frame{Dst: c.id, Handle: r.reply}
	file, err := c.e.forward.File(c.id, c.target(), r.during, r.file)
	f.Payload = file.Data
	if err != nil {
		f.Kind, f.Payload = wire.Dead, []byte(err.Error())
	}
	c.countFile(&file, r.file, err == nil)
	c.parts(c.e.base, nil, &f) // the error is that c is gone
}

// countFile counts and logs what went, or was refused.
func (c *Context) countFile(file *forward.File, question string, given bool) {
	c.e.mu.Lock()
	defer c.e.unlock()
	c.count.Files++
	switch {
	case !given:
		c.refusedToLocked(report.EventFile, question)
	case file.Name != "":
		c.gaveFileLocked(file.Name, int64(file.Size))
	}
}
