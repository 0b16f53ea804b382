// Package connect describes ways to hosts: the options of the hops of a target, the questions that
// programs ask on the way there, and what can go wrong.
package connect

import (
	"time"

	"github.com/mitogen-go/mitogen/secret"
)

// Options hold for every hop of a target, each hop taking what concerns it. The zero value of each
// field is its default.
type Options struct {
	// Python are the interpreters to try, in this order; each is a command of one or several words for
	// sh, as "/usr/bin/env python3". Default: the usual ones.
	Python []string

	// Timeout bounds a connect from the start of the process to the context's first message.
	// Default 30 s, negative: none.
	Timeout time.Duration

	// Interactive says that there is a user to ask. Questions of ssh that no option answers go to
	// the engine's Prompt function instead of failing.
	Interactive bool

	// Sourced says that passwords which the options don't have may be found elsewhere, when they are
	// asked for: see secret.Source. ssh tries each of them once, like a password of the options.
	Sourced bool

	// Passwords are for single hops. A key names a hop as in a target ("sudo:postgres"), or several
	// hops of which it is the last ("web1+sudo"). The key with most hops wins, also over the method's
	// own options.
	Passwords secret.Table

	SSH     SSHOptions     // for hops of method ssh
	Sudo    SudoOptions    // for hops of method sudo
	Su      SuOptions      // for hops of method su
	Doas    DoasOptions    // for hops of method doas
	Console ConsoleOptions // for hops of methods serial, console and ipmi

	// Programs are for hops of the other methods, by the method's name: where
	// docker's client is, what it is told besides.
	Programs map[string]ProgramOptions
}

// ProgramOptions are for hops of a method that is a program.
type ProgramOptions struct {
	Path string   // replaces the program; default: its usual name
	Args []string // further arguments, first of all

	// ExecArgs are further arguments of the subcommand that enters: of "docker exec", "podman exec",
	// "buildah run" and "kubectl exec". Other methods ignore them.
	ExecArgs []string
}

// SSHOptions are for hops of method ssh. What isn't set is left to the user's own configuration.
// Behind another hop ssh runs on this machine too, over a connection that the hop forwards, unless
// FromHop is set.
type SSHOptions struct {
	Path string   // the client; default "ssh"
	Args []string // further arguments, before the host
	// further arguments, before those for user, port and key: ssh takes the first value of an option
	FirstArgs  []string
	ConfigFile string // instead of ~/.ssh/config
	Port       int    // where the target names none
	User       string // where the target names none
	// IdentityFile is a private key, which ssh offers first. Besides it ssh offers those that its
	// configuration names for the host, and only with OtherKeys also those of the user's agent.
	IdentityFile string
	OtherKeys    bool
	HostKeys     HostKeys

	Password   secret.Secret // typed once where ssh asks for a password
	Passphrase secret.Secret // typed once for each key that asks for it

	// FromHop has a hop start ssh, with its own machine's configuration and keys. Else ssh runs on the
	// engine's machine, and a hop before it merely forwards the connection, so that no key, agent or
	// password gets there.
	FromHop bool

	// Native has the engine speak SSH itself, which costs far less than a process for each connection,
	// by what ssh -G says: keys, agent, certificates, known hosts, jumps. What it can't do is left to
	// the ssh program all the same. It doesn't compress.
	Native bool

	// The first round trip is saved where the server takes our environment variable, as Debian's and
	// Ubuntu's do (AcceptEnv LC_*): the runtime, modules of Python and how to go on from there are in
	// it. Arguments of calls, and scripts, are only with CallsAhead, and no Secret ever: processes of
	// the same user and administrators can read it on both machines, as they can a command's
	// arguments. With NoAhead it isn't used.
	CallsAhead, NoAhead bool

	// until sshd answers; default: Options.Timeout, which goes on until a context does
	ConnectTimeout time.Duration
	// default yes: most of what passes is small and alike; bulk data does better without, as exec has
	// it
	Compression       *bool
	KeepAliveInterval time.Duration // rounded up to whole seconds
	KeepAliveCount    int           // answers that may be missed
}

// HostKeys says what to do about a host's key.
type HostKeys string

// Host key policies.
const (
	HostKeysDefault   HostKeys = ""           // as the user's configuration says
	HostKeysAcceptNew HostKeys = "accept-new" // keep an unknown host's key, refuse a changed one
	HostKeysStrict    HostKeys = "strict"     // known and unchanged, or none
	HostKeysOff       HostKeys = "off"        // take any, keep none
)

// SudoOptions are for hops of method sudo.
type SudoOptions struct {
	Path     string        // default "sudo"
	Password secret.Secret // typed once where sudo asks
	Login    bool          // -i: through the user's login shell
	SetHome  bool          // -H
	Args     []string      // further arguments, before the command
}

// SuOptions are for hops of method su.
type SuOptions struct {
	Path     string        // default "su"
	Password secret.Secret // of the user that is entered; typed once
	Login    bool          // a login shell
	Args     []string      // further arguments, before the user
}

// DoasOptions are for hops of method doas.
type DoasOptions struct {
	Path     string        // default "doas"
	Password secret.Secret // typed once where doas asks
	Args     []string      // further arguments, before the command
}

// ConsoleOptions are for hops of methods serial, console and ipmi, which log in on a console.
type ConsoleOptions struct {
	Password secret.Secret // of the user who logs in there; typed once
}

// DefaultTimeout limits a connect if the options set no timeout.
const DefaultTimeout = 30 * time.Second
