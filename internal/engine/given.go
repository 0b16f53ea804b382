package engine

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/mitogen-go/mitogen/internal/bundle"
	"github.com/mitogen-go/mitogen/internal/gobinary"
	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/report"
)

// What a context was given, and what it was refused, is counted, logged at info and told to
// Options.Audit here. All methods are called with Engine.mu held.

const (
	maxGiven    = 65536 // files of a context that are kept by name
	maxRefusals = 1000  // refusals of a context that are told one by one
)

// given is the record of what a context was given and refused. Its fields are protected by
// Engine.mu.
type given struct {
	c        *Context
	refusals int              // of modules and files
	files    map[string]int64 // bytes of files, by name
}

// gaveBundleLocked notes what is in a bundle that is new to c.
func (g *given) gaveBundleLocked(b *bundle.Bundle) {
	names := b.Modules()
	if len(names) > 0 {
		g.c.outbox.queueLocked(event{report: "modules given", level: slog.LevelInfo,
			attrs: []slog.Attr{slog.Int("count", len(names)), slog.String("names",
				strings.Join(names, " "))}})
	}
	b.Each(func(name string, size int, file bool) {
		if file {
			g.gaveFileLocked(name, int64(size))
		} else {
			g.tellLocked(report.EventModule, report.Event{Name: name, Bytes: int64(size)})
		}
	})
}

// gaveModuleLocked notes a module that goes to c alone.
func (g *given) gaveModuleLocked(m *modules.Module) {
	g.c.outbox.queueLocked(event{report: "modules given", level: slog.LevelInfo,
		attrs: []slog.Attr{slog.Int("count", 1), slog.String("names", m.Name)}})
	g.tellLocked(report.EventModule, report.Event{Name: m.Name, Bytes: int64(m.Size)})
}

// gaveFileLocked notes a file, or a directory's names. Each is told once, however often a context
// asks for it.
func (g *given) gaveFileLocked(name string, size int64) {
	if _, known := g.files[name]; known {
		return
	}
	g.tellLocked(report.EventFile, report.Event{Name: name, Bytes: size})
	if len(g.files) >= maxGiven {
		return
	}
	if g.files == nil {
		g.files = map[string]int64{}
	}
	g.files[name] = size
	g.c.outbox.queueLocked(event{report: "file given", level: slog.LevelInfo,
		attrs: []slog.Attr{slog.String("file", fmt.Sprintf("%+q", name)), slog.Int64("bytes", size)}})
}

// gaveProgram notes that the context is sent this program, in size bytes.
func (g *given) gaveProgram(b *gobinary.Binary, size int) {
	e := g.c.e
	e.mu.Lock()
	defer e.unlock()
	g.gaveFileLocked("go:"+b.For.String(), int64(size))
}

// refusedToLocked notes that c may not have what it asked for. An honest program's import of an
// optional module is refused too, so it is no offence.
func (g *given) refusedToLocked(kind report.EventKind, what string) {
	g.refusals++
	n := g.refusals
	if n <= maxRefusals || n%1000 == 0 {
		g.tellLocked(kind, report.Event{Name: what, Refused: true, Count: n})
	}
	if n <= 10 || n%1000 == 0 {
		g.c.outbox.queueLocked(event{report: string(kind) + " refused", level: slog.LevelInfo,
			attrs: []slog.Attr{slog.String("what", fmt.Sprintf("%+q", what)), slog.Int("count", n)}})
	}
}

func (g *given) tellLocked(kind report.EventKind, ev report.Event) {
	c := g.c
	if c.e.audit.auditor == nil {
		return
	}
	full := c.event(kind)
	full.Name, full.Bytes, full.Refused, full.Count = ev.Name, ev.Bytes, ev.Refused, ev.Count
	c.e.audit.auditor.add(full)
}

// givenLocked returns the files that c was given, sorted.
func (g *given) givenLocked() []report.File {
	var files []report.File
	for name, size := range g.files {
		if !strings.HasSuffix(name, "/") {
			files = append(files, report.File{Path: name, Bytes: size})
		}
	}
	slices.SortFunc(files, func(a, b report.File) int { return strings.Compare(a.Path, b.Path) })
	return files
}

// lent is a call that another context, which the program has allowed to, made in this one.
type lent struct {
	by     wire.ContextID
	module string
}

// maxLent bounds such calls since a module was last asked for; the last ones are kept.
const maxLent = 256

// lendLocked notes a CALL that passes from another context to c: c may then have the called module,
// if the other may.
func (s *supply) lendLocked(by *Context, f *wire.Frame) {
	module, _, ok := strings.Cut(string(f.Payload[:min(len(f.Payload), modules.MaxName+1)]), ":")
	l := lent{by.id, module}
	if !ok || slices.Contains(s.lent, l) {
		return
	}
	if len(s.lent) == maxLent {
		s.lent = slices.Delete(s.lent, 0, 1)
	}
	s.lent = append(s.lent, l)
}
