package cli

import (
	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
)

// merged returns the options of one hop. The inventory's win over the flags'.
func merged(c mitogen.ConnectOptions, w *connect.Options) mitogen.ConnectOptions {
	o := connect.Merge(connect.Options{
		Python: c.Python, Timeout: c.Timeout, SSH: c.SSH, Sudo: c.Sudo, Su: c.Su,
		Doas: c.Doas, Console: c.Console, Programs: c.Programs,
	}, w)
	c.Python, c.Timeout, c.Programs = o.Python, o.Timeout, o.Programs
	c.SSH, c.Sudo, c.Su, c.Doas = o.SSH, o.Sudo, o.Su, o.Doas
	c.Console = o.Console
	c.Passwords = mergePasswords(c.Passwords, w.Passwords)
	return c
}
