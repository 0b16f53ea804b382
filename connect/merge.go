package connect

import (
	"maps"
	"slices"
)

// Merge returns the options of one hop: o, and what w says in its place or besides. w is an
// inventory's, which wins over flags and over what a program says.
func Merge(o Options, w *Options) Options {
	if w.Python != nil {
		o.Python = w.Python
	}
	prefer(&o.Timeout, w.Timeout)
	mergeSSH(&o.SSH, &w.SSH)
	prefer(&o.Sudo.Path, w.Sudo.Path)
	prefer(&o.Sudo.Password, w.Sudo.Password)
	o.Sudo.SetHome, o.Sudo.Login = o.Sudo.SetHome || w.Sudo.SetHome, o.Sudo.Login || w.Sudo.Login
	o.Sudo.Args = slices.Concat(o.Sudo.Args, w.Sudo.Args)
	prefer(&o.Su.Path, w.Su.Path)
	prefer(&o.Su.Password, w.Su.Password)
	o.Su.Login = o.Su.Login || w.Su.Login
	o.Su.Args = slices.Concat(o.Su.Args, w.Su.Args)
	prefer(&o.Console.Password, w.Console.Password)
	prefer(&o.Doas.Path, w.Doas.Path)
	prefer(&o.Doas.Password, w.Doas.Password)
	o.Doas.Args = slices.Concat(o.Doas.Args, w.Doas.Args)
	o.Programs = mergePrograms(o.Programs, w.Programs)
	o.Passwords = o.Passwords.With(w.Passwords)
	return o
}

// prefer sets what the inventory says.
func prefer[T comparable](into *T, value T) {
	var zero T
	if value != zero {
		*into = value
	}
}

// mergeSSH puts w's arguments before c's: ssh takes the first value of an option.
func mergeSSH(c, w *SSHOptions) {
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

// mergePrograms puts w's arguments behind c's: these programs take the last value of an option.
func mergePrograms(c, w map[string]ProgramOptions) map[string]ProgramOptions {
	if len(w) == 0 {
		return c
	}
	all := maps.Clone(c)
	if all == nil {
		all = map[string]ProgramOptions{}
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
