package engine

import (
	"github.com/mitogen-go/mitogen/internal/connect"
	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/wire"
)

func init() {
	pickle.Register(func(s connect.Secret) (pickle.Secret, error) { return pickle.Secret(s), nil },
		func(s pickle.Secret) (connect.Secret, error) { return connect.Secret(s), nil })
	pickle.Register(func(c *Context) (pickle.Context, error) {
		return pickle.Context{ID: uint32(c.id), Name: c.name}, nil
	}, nil)
}

// admit lets c send to the engine's receivers whose senders are among the arguments of a call to c. It looks into []any
// and maps, not into other types.
func (e *Engine) admit(c *Context, v any) {
	switch v := v.(type) {
	case pickle.Sender:
		if v.Context == 0 {
			e.mu.Lock()
			e.router.Admit(wire.Handle(v.Handle), c.id)
			e.mu.Unlock()
		}
	case []any:
		for _, x := range v {
			e.admit(c, x)
		}
	case map[string]any:
		for _, x := range v {
			e.admit(c, x)
		}
	}
}
