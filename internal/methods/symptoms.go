package methods

import (
	"strings"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/lazyregexp"
)

// A symptom is a piece of a program's output that tells a kind. The first symptom of a list
// decides, and its line is shown.
type symptom struct {
	text    string // in lower case
	kind    error
	hint    string             // instead of the kind's; "": that
	match   *lazyregexp.Regexp // instead of text, of the whole in lower case; nil: text
	refines bool               // it says more about a kind, but doesn't decide that it is this one
	quiet   bool               // its line isn't the one to show
	lasting bool               // a kind that may pass doesn't here
}

// in tells whether text, in lower case, has the symptom.
func (s symptom) in(text string) bool {
	if s.match != nil {
		return s.match.MatchString(text)
	}
	return strings.Contains(text, s.text)
}

// symptomsOf returns the symptoms of a kind: those that refine it first.
func (m method) symptomsOf(kind error) []symptom {
	var refining, deciding []symptom
	for _, list := range [][]symptom{m.symptoms, m.late, m.session, shellSymptoms, pythonSymptoms} {
		for _, s := range list {
			switch {
			case s.kind != kind:
			case s.refines:
				refining = append(refining, s)
			default:
				deciding = append(deciding, s)
			}
		}
	}
	return append(refining, deciding...)
}

// silentKind returns the kind of an end with the method's own status, and without a symptom. A
// program that prints nothing lost its connection. A program that prints unknown text couldn't
// begin. The remote program in a session may have ended with that status too.
func (m method) silentKind(text string, loggedIn bool) error {
	if loggedIn && transferredLine.MatchString(text) {
		return connect.ErrDied
	}
	if loggedIn || strings.TrimSpace(ownLines.ReplaceAllString(text, "")) == "" {
		return m.silent
	}
	return connect.ErrSetup
}

const (
	proxyHint = "ProxyCommand or ProxyJump fails: run what it says by hand"
	userHint  = "ssh takes no such user from a command line (as of OpenSSH 10.6 none with " +
		"a backslash or a $): name the user in ssh's configuration, by User in a section " +
		"for a Host, and that host in the target"
	versionHint = "client and server share no algorithm: allow one of those it offers in ssh's " +
		"configuration (HostKeyAlgorithms, KexAlgorithms, Ciphers, PubkeyAcceptedAlgorithms)"
	otherHint    = "what listens there isn't an SSH server: check the port"
	passwordHint = "the password there has expired: log in with plain ssh on a terminal, and change it"
	expiredHint  = "the account there has expired: an administrator can prolong it (chage -E)"
	nologinHint  = "the server lets nobody but root log in now (/etc/nologin): wait, or ask its " +
		"administrator"
	fullHint = "the account has as many sessions as it may (maxlogins in limits.conf, TasksMax): " +
		"close some, or allow more"
	factorHint = "the server wants more than one proof: give what it asks besides the key (a " +
		"password, or answers on a terminal)"
	brokenHint = "the interpreter there doesn't start: check PYTHONHOME and PYTHONPATH there, and " +
		"its installation, or name another with --python"
	foreignHint = "what --python names isn't Python, or lacks a part of it: name a CPython or PyPy"
)

// sshSymptoms are in the words of an ssh that ends before the login.
var sshSymptoms = []symptom{
	{text: "remote host identification has changed", kind: connect.ErrHostKeyChanged},
	{text: "has changed and you have requested strict checking", kind: connect.ErrHostKeyChanged},
	{text: "host key verification failed", kind: connect.ErrHostKey},
	{text: yesNo, kind: connect.ErrHostKey},
	{text: "could not resolve hostname", kind: connect.ErrUnknownHost},
	{text: "name or service not known", kind: connect.ErrUnknownHost},
	{text: "nodename nor servname", kind: connect.ErrUnknownHost},
	{text: "temporary failure in name resolution", kind: connect.ErrUnknownHost},
	{text: "name does not resolve", kind: connect.ErrUnknownHost},
	{text: "no address associated with hostname", kind: connect.ErrUnknownHost},

	// Of the client itself.
	{text: "cannot execute command-line and remote command", kind: connect.ErrSetup,
		hint: "take RemoteCommand out of ssh's configuration for this host, or set it to none"},
	{text: "too long for unix domain socket", kind: connect.ErrSetup,
		hint: "shorten ControlPath in ssh's configuration (%C is short)"},
	{text: "controlpath too long", kind: connect.ErrSetup,
		hint: "shorten ControlPath in ssh's configuration (%C is short)"},
	{text: "too many recursive configuration includes", kind: connect.ErrSetup,
		hint: "a file of ssh's configuration includes itself"},
	{text: "can't open user config file", kind: connect.ErrSetup,
		hint: "the file that ssh's -F names can't be read: check its path"},
	{text: "bad owner or permissions on", kind: connect.ErrSetup,
		hint: "give the file to its user, and let nobody else write it: chmod go-w"},
	{text: "bad configuration option", kind: connect.ErrSetup},
	{text: "unsupported option", kind: connect.ErrSetup},
	{match: lazyregexp.New(`(?m)^\S+:? line \d+: `), kind: connect.ErrSetup},
	{text: "command-line line 0", kind: connect.ErrSetup},
	{text: "terminating, ", kind: connect.ErrSetup},
	{text: "percent_expand: ", kind: connect.ErrSetup},
	{text: "username contains invalid characters", kind: connect.ErrSetup, hint: userHint},
	{text: "parse_jump: invalid username", kind: connect.ErrSetup, hint: userHint},
	{text: "jumphost loop via", kind: connect.ErrSetup},
	{text: "unknown option -- ", kind: connect.ErrSetup},
	{text: "illegal option -- ", kind: connect.ErrSetup},
	{text: "usage: ssh ", kind: connect.ErrSetup},
	{text: "unable to negotiate with", kind: connect.ErrSetup, hint: versionHint},
	{text: "no matching ", kind: connect.ErrSetup, hint: versionHint},
	{match: lazyregexp.New(`(?m)^.*\b(exec: .*not found|(sh|bash|zsh|dash)(: line \d+|` +
		`: \d+)?: .*(not found|no such file or directory|permission denied)|` +
		`no such host is known)`), kind: connect.ErrSetup, hint: proxyHint},

	// Of the network.
	{text: "administratively prohibited", kind: connect.ErrNotPermitted,
		hint: "the jump host forwards no connections (AllowTcpForwarding, PermitOpen): allow it there, " +
			"or go there by a hop: JUMP+HOST"},
	{text: "connection refused", kind: connect.ErrRefused},
	{text: "timed out", kind: connect.ErrTimeout},
	{text: "i/o timeout", kind: connect.ErrTimeout},
	{text: "no route to host", kind: connect.ErrUnreachable},
	{text: "is unreachable", kind: connect.ErrUnreachable},
	{text: "host is down", kind: connect.ErrUnreachable},

	// Of the login.
	{text: "your account has expired", kind: connect.ErrAuth, hint: expiredHint},
	{text: "account has expired", kind: connect.ErrAuth, hint: expiredHint},
	{text: "password has expired", kind: connect.ErrAuth, hint: passwordHint},
	{text: "password change required", kind: connect.ErrAuth, hint: passwordHint},
	{text: ": password was refused", kind: connect.ErrAuth, refines: true}, // package askpass's
	{text: "are too open", kind: connect.ErrAuth, refines: true,
		hint: "ssh ignores a private key that others may read: chmod 600 the key's file"},
	{text: "unprotected private key file", kind: connect.ErrAuth, refines: true,
		hint: "ssh ignores a private key that others may read: chmod 600 the key's file"},
	{text: "load key ", kind: connect.ErrAuth, refines: true,
		hint: "ssh can't use the private key's file: check it with ssh-keygen -y -f FILE"},
	{match: lazyregexp.New(`identity file .* not accessible`), kind: connect.ErrAuth, refines: true,
		hint: "the private key's file isn't there: check what --identity names"},
	{text: "agent refused operation", kind: connect.ErrAuth, refines: true,
		hint: "the agent won't sign: unlock or confirm the key there (ssh-add -l), or name another " +
			"with --identity"},
	{text: "no mutual signature", kind: connect.ErrAuth, refines: true, hint: versionHint},
	{text: "with partial success", kind: connect.ErrAuth, refines: true, quiet: true,
		hint: factorHint},
	{text: "too many authentication failures", kind: connect.ErrAuth,
		hint: "ssh has offered more keys than the server lets it: name the right one with --identity, " +
			"or set IdentitiesOnly"},
	// before the bare one, which local files cause too
	{text: "permission denied (", kind: connect.ErrAuth},
	{text: "no supported authentication methods", kind: connect.ErrAuth},

	// Of the server, and of what it runs before it lets anybody in.
	{match: nologinWords, kind: connect.ErrDisconnected, hint: nologinHint, lasting: true},
	{text: "too many logins for", kind: connect.ErrDisconnected, hint: fullHint},
	{text: "closed by unknown port", kind: connect.ErrDisconnected, refines: true, quiet: true,
		hint: proxyHint},
	{text: "invalid format", kind: connect.ErrDisconnected, hint: otherHint, lasting: true},
	{text: "invalid ssh identification string", kind: connect.ErrDisconnected, hint: otherHint,
		lasting: true},
	{text: "banner line contains invalid characters", kind: connect.ErrDisconnected, hint: otherHint,
		lasting: true},
	{text: "protocol major versions differ", kind: connect.ErrDisconnected,
		hint: "the server speaks an SSH of another age", lasting: true},
	{text: "kex_exchange_identification", kind: connect.ErrDisconnected},
	{text: "ssh_exchange_identification", kind: connect.ErrDisconnected},
	{text: "banner exchange", kind: connect.ErrDisconnected},
	{text: "connection reset", kind: connect.ErrDisconnected},
	{text: "closed by remote host", kind: connect.ErrDisconnected},
	{text: "broken pipe", kind: connect.ErrDisconnected},
	// once the login has begun
	{match: lazyregexp.New(`(?m)^connection closed by \S+ port \d+\.?\r?$`),
		kind:    connect.ErrDisconnected,
		lasting: true},
	{text: "connection closed", kind: connect.ErrDisconnected},
	{text: "ssh_dispatch_run_fatal", kind: connect.ErrDisconnected},
	{text: "received disconnect", kind: connect.ErrDisconnected},
	{text: "disconnected from", kind: connect.ErrDisconnected},
	{text: "corrupted mac", kind: connect.ErrDisconnected},
	{text: "bad packet length", kind: connect.ErrDisconnected},
	{text: "handshake failed", kind: connect.ErrDisconnected},
	{text: "stdio forwarding failed", kind: connect.ErrDisconnected},

	{text: "too many open files", kind: connect.ErrExhausted},
	{text: "cannot allocate memory", kind: connect.ErrExhausted},
}

// sshLateSymptoms are in the words of an ssh that ends after the login, with its own status.
var sshLateSymptoms = []symptom{
	{match: nologinWords, kind: connect.ErrDisconnected, hint: nologinHint, lasting: true},
	{text: "too many logins for", kind: connect.ErrDisconnected, hint: fullHint},
	{text: "too long for unix domain socket", kind: connect.ErrSetup,
		hint: "shorten ControlPath in ssh's configuration (%C is short)"},
	{text: "session open refused by peer", kind: connect.ErrDisconnected,
		hint: "the connection has as many sessions as it may (MaxSessions): allow more there, or have " +
			"no ControlMaster"},
	{text: "open failed", kind: connect.ErrDisconnected,
		hint:    "the server opens no session (MaxSessions, or a login for forwarding alone)",
		lasting: true},
	{text: "password change required", kind: connect.ErrAuth, hint: passwordHint},
	{text: "exec request failed on channel", kind: connect.ErrNotPermitted},
	{text: "shell request failed on channel", kind: connect.ErrNotPermitted},
}

// nologinWords match the usual texts of /etc/nologin, of systemd and other programs.
var nologinWords = lazyregexp.New(`not permitted to log in|system is (booting up|going down|` +
	`shutting down)|system (is )?shut ?down in progress`)

// sessionSymptoms are in what a session says that ends before there is an interpreter, whatever its
// status is: the words are the server's, or the account's shell's.
var sessionSymptoms = []symptom{
	{text: "password change required", kind: connect.ErrAuth, hint: passwordHint},
	{text: "password has expired", kind: connect.ErrAuth, hint: passwordHint},
	{text: "account has expired", kind: connect.ErrAuth, hint: expiredHint},
	{match: nologinWords, kind: connect.ErrNotPermitted, hint: nologinHint},
	{text: "because /etc/nologin exists", kind: connect.ErrNotPermitted, quiet: true,
		hint: nologinHint},
	{text: "too many logins for", kind: connect.ErrNotPermitted, hint: fullHint},
	{text: "currently not available", kind: connect.ErrNotPermitted,
		hint: "the account's shell takes no logins (nologin): take another user, and sudo there"},
	{text: "this account is disabled", kind: connect.ErrNotPermitted},
	{text: "this service allows sftp connections only", kind: connect.ErrNotPermitted,
		hint: "the account is for sftp alone (ForceCommand internal-sftp): take another user"},
	{text: "unrecognized command", kind: connect.ErrNotPermitted,
		hint: "the account's shell takes only commands of its own, as git-shell does: take another user"},
	{text: "interactive git shell is not enabled", kind: connect.ErrNotPermitted},
	{text: "hi there! you've successfully authenticated", kind: connect.ErrNotPermitted},
	{text: "does not provide shell access", kind: connect.ErrNotPermitted},
	// rbash and its like
	{match: lazyregexp.New(`restricted: cannot|: restricted\b|\bis restricted\b`),
		kind: connect.ErrNotPermitted},
	// sshd's, of the account's shell
	{match: lazyregexp.New(`\A\s*/\S+: (no such file or directory|permission denied|` +
		`exec format error)\s*\z`), kind: connect.ErrNoShell},
}

// shellSymptoms are in what programs say that can't start sh, or the shell of an account.
var shellSymptoms = []symptom{
	{text: "executable file not found", kind: connect.ErrNoShell},
	{match: lazyregexp.New("executable file [`'\"]?sh[`'\"]? not found"), kind: connect.ErrNoShell},
	{text: "failed to run command", kind: connect.ErrNoShell}, // chroot
	{text: "no command 'sh'", kind: connect.ErrNoShell},
	// su, nsenter
	{match: lazyregexp.New(`failed to execute /?(\S+/)?\w*sh\b`), kind: connect.ErrNoShell},
	{match: lazyregexp.New(`(cannot|unable to) exec(ute)? /?(\S+/)?\w*sh\b`),
		kind: connect.ErrNoShell},
	{match: lazyregexp.New(`failed to execute /\S+: `), kind: connect.ErrNoShell},
	{match: lazyregexp.New(`(cannot|unable to) execute /\S+: `), kind: connect.ErrNoShell},
	{match: lazyregexp.New(`(?m)(^|[:\s'"])sh['"]?: (command )?not found`), kind: connect.ErrNoShell},
	{match: lazyregexp.New(`exec: "?sh"?: `), kind: connect.ErrNoShell},
}

// pythonSymptoms are in the words of what the boot command has started.
var pythonSymptoms = []symptom{
	{text: "pyenv: ", kind: connect.ErrNoPython,
		hint: "pyenv there has no such version: choose one there (pyenv global), or name a path with " +
			"--python"},
	{text: "no version is set for", kind: connect.ErrNoPython,
		hint: "asdf or its like there has no version chosen: choose one there, or name a path with " +
			"--python"},
	{text: "error while loading shared libraries", kind: connect.ErrNoPython, hint: brokenHint},
	{text: "exec format error", kind: connect.ErrNoPython,
		hint: "it is for another kind of processor, or no program: name another with --python"},
	{text: "cannot execute binary file", kind: connect.ErrNoPython,
		hint: "it is for another kind of processor: name another with --python"},
	{text: "bad interpreter", kind: connect.ErrNoPython,
		hint: "what --python names is a script whose interpreter isn't there"},
	{match: lazyregexp.New(`no module named '?fcntl`), kind: connect.ErrNoPython, hint: foreignHint},
	{text: "can't open perl script", kind: connect.ErrNoPython, hint: foreignHint},
	{match: lazyregexp.New(`\b(syntax|parse) error\b`), kind: connect.ErrNoPython, hint: foreignHint},
	{text: "badly placed ()", kind: connect.ErrNoPython, hint: foreignHint}, // csh
	{text: "cannot find module", kind: connect.ErrNoPython, hint: foreignHint},
	{match: lazyregexp.New(`(invalid|illegal|unknown|unrecognized) option( --)? '?-?c\b|` +
		`not an option: -c`), kind: connect.ErrNoPython, hint: foreignHint},
	{text: "…", kind: connect.ErrNoPython, refines: true, hint: foreignHint},
	{text: "fatal python error", kind: connect.ErrDied, hint: brokenHint},
	{text: "no module named 'encodings'", kind: connect.ErrDied, hint: brokenHint},
	{text: "no module named site", kind: connect.ErrDied, hint: brokenHint},
	{text: "could not find platform independent libraries", kind: connect.ErrDied, hint: brokenHint},
}

// Denied tells whether text, of an ssh, says that the server has accepted nothing that it was
// given.
func Denied(text string) bool {
	f := Failure{What: WhatExit, Status: sshMethod.status, Text: text, LoggedIn: LoggedIn(text)}
	return Classify("ssh", f).Kind == connect.ErrAuth
}

var sudoSymptoms = []symptom{
	{text: "account validation failure", kind: connect.ErrAuth,
		hint: "the account of the user who calls sudo is locked or has expired there: an administrator " +
			"can prolong it (chage -E)"},
	{text: "account or password is expired", kind: connect.ErrAuth,
		hint: "the account of the user who calls sudo, or its password, has expired there: an " +
			"administrator can prolong it (chage)"},
	{text: "not in the sudoers file", kind: connect.ErrNotInSudoers},
	{text: "may not run sudo", kind: connect.ErrNotInSudoers},
	{text: "is not allowed to", kind: connect.ErrNotInSudoers},
	{text: "i'm afraid i can't do that", kind: connect.ErrNotInSudoers}, // sudo-rs
	{text: "must have a tty", kind: connect.ErrTTYRequired},
	{text: "no tty present", kind: connect.ErrTTYRequired},
	{text: "a terminal is required", kind: connect.ErrTTYRequired},
	{text: "tty is required", kind: connect.ErrTTYRequired}, // sudo-rs
	{text: "unable to allocate pty", kind: connect.ErrTTYRequired},
	{text: "incorrect password attempt", kind: connect.ErrSudoPassword},
	{text: "incorrect authentication attempt", kind: connect.ErrSudoPassword}, // sudo-rs
	{text: "sorry, try again", kind: connect.ErrSudoPassword},
	{text: "authentication failed, try again", kind: connect.ErrSudoPassword}, // sudo-rs
	{text: "a password is required", kind: connect.ErrPasswordRequired},
	{text: "no password was provided", kind: connect.ErrPasswordRequired},
	{text: "unknown user", kind: connect.ErrUnknownUser},
	{text: "user not found", kind: connect.ErrUnknownUser},
	// sudo-rs: user 'name' not found
	{text: "' not found", kind: connect.ErrUnknownUser},
	// of an account, with -i
	{match: lazyregexp.New(`sudo: /\S*: command not found`), kind: connect.ErrNoShell},
	{text: "command not found", kind: connect.ErrNoCommand},
	{text: "account expired", kind: connect.ErrAuth},
	{text: "password expired", kind: connect.ErrAuth},
	{text: "must be setuid root", kind: connect.ErrSetup},
	{text: "have the setuid bit set", kind: connect.ErrSetup},
	{text: "effective uid is not 0", kind: connect.ErrSetup},
	{text: "no new privileges", kind: connect.ErrSetup},
	{text: "syntax error", kind: connect.ErrSetup},
	{text: "no valid sudoers", kind: connect.ErrSetup},
}
