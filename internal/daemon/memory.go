package daemon

import (
	"context"
	"embed"
	"io/fs"
	"log/slog"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/engine"
	"github.com/mitogen-go/mitogen/internal/pickle"
)

// embedded are modules that run in forks.
//
//go:embed py
var embedded embed.FS

// memory returns the memory that c holds, in bytes; 0: it isn't known.
func (s *Server) memory(ctx context.Context, c *engine.Context) (n int64) {
	py, err := fs.Sub(embedded, "py")
	if err != nil {
		return 0
	}
	e, err := engine.New(engine.Options{Logger: slog.New(slog.DiscardHandler),
		Modules: engine.ModuleOptions{Path: []fs.FS{py}},
		Dial: func(context.Context, string, connect.Options) (engine.Conn, error) {
			return c.Tunnels.Fork(ctx, nil)
		}})
	if err != nil {
		return 0
	}
	defer e.Close()
	x, err := e.Start("local", engine.ConnectOptions{})
	if err != nil {
		return 0
	}
	p := x.Calls.Go(ctx, "mitogen_measure:memory", nil, nil, false)
	b, _, err := p.Result(ctx)
	defer p.Taken()
	if err != nil || pickle.Unmarshal(b, limits, &n) != nil {
		return 0
	}
	return n
}
