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
func (q *requests) getFileLocked(f *wire.Frame) {
	c := q.c
	if len(f.Payload) == 0 || len(f.Payload) > maxFileName || f.Reply < wire.FirstDynamic {
		c.conduct.reportLocked("request for a file refused", slog.Int("bytes", len(f.Payload)))
		return
	}
	q.serveLocked(request{handle: wire.GetFile, file: string(f.Payload), reply: f.Reply,
		during: c.Calls.runningLocked()})
}

// answerFile answers a GET_FILE, as windows allow.
func (q *requests) answerFile(r request) {
	c := q.c
	f := wire.Frame{Dst: c.id, Handle: r.reply}
	file, err := c.e.library.forward.File(c.id, c.Supply.target(), r.during, r.file)
	f.Payload = file.Data
	if err != nil {
		f.Kind, f.Payload = wire.Dead, []byte(err.Error())
	}
	q.countFile(&file, r.file, err == nil)
	c.Calls.parts(c.e.work.base, nil, &f) // the error is that c is gone
}

// countFile counts and logs what went, or was refused.
func (q *requests) countFile(file *forward.File, question string, given bool) {
	c := q.c
	c.e.mu.Lock()
	defer c.e.unlock()
	c.figures.count.Files++
	switch {
	case !given:
		c.Supply.given.refusedToLocked(report.EventFile, question)
	case file.Name != "":
		c.Supply.given.gaveFileLocked(file.Name, int64(file.Size))
	}
}
