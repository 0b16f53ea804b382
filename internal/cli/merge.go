package cli

import (
	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
)

// merged returns the options of one hop. The inventory's win over the flags'.
func merged(c mitogen.ConnectOptions, w *connect.Options) mitogen.ConnectOptions {
	c.Options = connect.Merge(c.Options, w)
	return c
}
