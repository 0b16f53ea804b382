package engine

import (
	"cmp"
	"context"
)

// A turn is a lock that can be waited for with a context. It is made to hold one.
type turn chan struct{}

// take returns once the turn is taken, or with why it isn't: ctx has ended, c is gone, or closed
// is.
func (t turn) take(ctx context.Context, c *Context, closed <-chan struct{}) error {
	select {
	case t <- struct{}{}:
		return nil
	default:
	}
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return givenUp(ctx, "send to "+c.name)
	case <-closed:
		return cmp.Or(c.Err(), ErrClosed)
	case <-c.done:
		return c.Err()
	}
}

// leave gives the turn back.
func (t turn) leave() { <-t }
