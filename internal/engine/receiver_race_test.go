package engine

import (
	"errors"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/route"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// slowValue takes until its context is up to be encoded.
type slowValue struct{ ready <-chan struct{} }

func init() {
	pickle.Register(func(v slowValue) (string, error) {
		select {
		case <-v.ready:
		case <-time.After(patience):
			return "", errors.New("context isn't up")
		}
		return "value", nil
	}, nil)
}

// The form of a value is read under the lock that HELLO sets it under: the race detector sees it if
// it isn't.
func TestSendWhileHelloComes(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	for range 5 {
		c, err := e.Start("local", ConnectOptions{Fresh: true})
		if err != nil {
			t.Fatal(err)
		}
		f := <-fakes
		sent := make(chan error, 1)
		go func() {
			to := pickle.NewSender(e.identity, uint32(c.id), 1000)
			sent <- e.Send(within(t), to, slowValue{c.hello.ready})
		}()
		time.Sleep(5 * time.Millisecond) // without a word between the two, which would order them
		f.raw([]byte("MITO-EC0\n"))
		f.hello(c.id)
		f.reply(f.expect(c.id, 1000), wire.Data, nil)
		if err := <-sent; err != nil && !errors.Is(err, route.ErrGone) {
			t.Errorf("send: got %v, want no error", err)
		}
		f.exit(methods.Failure{What: methods.WhatExit})
	}
}
