package cli

import (
	"maps"
	"slices"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/internal/connect"
)

// merged returns the options of one hop. The inventory's win over the flags'.
func merged(c mitogen.ConnectOptions, w *connect.Options) mitogen.ConnectOptions {
	if w.Python != nil {
		c.Python = w.Python
	}
	prefer(&c.Timeout, w.ConnectTimeout)
	mergeSSH(&c.SSH, &w.SSH)
	prefer(&c.Sudo.Path, w.Sudo.Path)
	prefer(&c.Sudo.Password, w.Sudo.Password)
	c.Sudo.SetHome, c.Sudo.Login = c.Sudo.SetHome || w.Sudo.SetHome, c.Sudo.Login || w.Sudo.Login
	c.Sudo.Args = slices.Concat(c.Sudo.Args, w.Sudo.Args)
	prefer(&c.Su.Path, w.Su.Path)
	prefer(&c.Su.Password, w.Su.Password)
	c.Su.Login = c.Su.Login || w.Su.Login
	c.Su.Args = slices.Concat(c.Su.Args, w.Su.Args)
	prefer(&c.Doas.Path, w.Doas.Path)
	prefer(&c.Doas.Password, w.Doas.Password)
	c.Doas.Args = slices.Concat(c.Doas.Args, w.Doas.Args)
	c.Programs = mergePrograms(c.Programs, w.Programs)
	c.Passwords = mergePasswords(c.Passwords, w.Passwords)
	return c
}

// prefer sets what the inventory says.
func prefer[T comparable](into *T, value T) {
	var zero T
	if value != zero {
		*into = value
	}
}

// mergeSSH puts the inventory's arguments before those of flags: ssh takes the first value of an option.
func mergeSSH(c *mitogen.SSHOptions, w *connect.SSHOptions) {
	prefer(&c.Path, w.Path)
	if w.IdentityFile != "" {
		c.IdentityFile, c.OtherKeys = w.IdentityFile, w.OtherKeys
	}
	prefer(&c.Password, w.Password)
	prefer(&c.Passphrase, w.Passphrase)
	prefer(&c.HostKeys, w.HostKeys)
	prefer(&c.ConnectTimeout, w.ConnectTimeout)
	c.FirstArgs = slices.Concat(w.FirstArgs, c.FirstArgs)
	c.Args = slices.Concat(w.Args, c.Args)
}

// mergePrograms puts the inventory's arguments behind those of flags: these programs take the last value of an option.
func mergePrograms(c, w map[string]mitogen.ProgramOptions) map[string]mitogen.ProgramOptions {
	if len(w) == 0 {
		return c
	}
	all := maps.Clone(c)
	if all == nil {
		all = map[string]mitogen.ProgramOptions{}
	}
	for method, p := range w {
		both := all[method]
		prefer(&both.Path, p.Path)
		both.Args = slices.Concat(both.Args, p.Args)
		both.ExecArgs = slices.Concat(both.ExecArgs, p.ExecArgs)
		all[method] = both
	}
	return all
}
