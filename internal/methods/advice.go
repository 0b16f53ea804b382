package methods

import "github.com/mitogen-go/mitogen/connect"

// advice goes with a kind: where it happens, and what a person can do.
type advice struct {
	phase, hint string
	after       string // instead of hint once ssh had logged in; "": the same
	started     string // instead of both once an interpreter was there; "": the same
}

// kinds gives the advice for each kind, whatever the method.
var kinds = map[error]advice{
	connect.ErrNoPython: {phase: connect.PhasePython,
		hint: "install Python there (any from 2.4 to 3.15), or say with --python where it is; at a " +
			"target of one hop exec, shell, forward, put and get need none"},
	connect.ErrNoProgram: {phase: connect.PhasePython,
		hint: "install Python there (any from 2.4 to 3.15), or provide what the error names"},
	connect.ErrNoCommand: {phase: connect.PhaseStart,
		hint: "install the program there, or give its path"},
	connect.ErrStart: {phase: connect.PhaseStart,
		hint: "check permissions and limits on the machine that starts it"},
	connect.ErrUnknownHost: {phase: connect.PhaseLogin, hint: "check the host's name"},
	connect.ErrRefused:     {phase: connect.PhaseLogin, hint: "check that the service runs there"},
	connect.ErrUnreachable: {phase: connect.PhaseLogin,
		hint: "check the network and the host's address"},
	connect.ErrTimeout: {
		phase: connect.PhaseLogin,
		hint: "run the program by hand to see what holds it up, or allow more time with " +
			"--connect-timeout",
		started: "the interpreter there has started, but is too slow: allow more time with " +
			"--connect-timeout",
	},
	connect.ErrDisconnected: {phase: connect.PhaseLogin,
		hint: "try again; the other side's log may say why"},
	connect.ErrHostKey: {phase: connect.PhaseLogin,
		hint: "log in once with ssh to check the key, or add --host-keys accept-new"},
	connect.ErrHostKeyChanged: {phase: connect.PhaseLogin,
		hint: "find out why; then remove the old key with ssh-keygen -R"},
	connect.ErrAuth: {phase: connect.PhaseLogin,
		hint: "check what the user may do there, by running the program by hand"},
	connect.ErrPasswordRequired: {phase: connect.PhaseLogin, hint: "give the password or passphrase"},
	connect.ErrSudoPassword: {phase: connect.PhaseLogin,
		hint: "give the right password of the user who calls sudo"},
	connect.ErrNotInSudoers: {phase: connect.PhaseLogin, hint: "allow it in sudoers there"},
	connect.ErrHidden: {phase: connect.PhaseLogin,
		hint: "let the account see others' processes (mount /proc without hidepid), or let the program " +
			"ask nothing"},
	connect.ErrTTYRequired: {phase: connect.PhaseLogin,
		hint: "there is no terminal: check /dev/ptmx, and the limit of pseudo-terminals"},
	connect.ErrUnknownUser: {phase: connect.PhaseLogin, hint: "check the user's name"},
	connect.ErrNotPermitted: {phase: connect.PhaseLogin,
		hint: "allow it there, or take a user who may"},
	connect.ErrNotFound: {phase: connect.PhaseLogin,
		hint: "check the name on the machine that enters it"},
	connect.ErrNotRunning: {phase: connect.PhaseLogin, hint: "start it first"},
	connect.ErrNoShell: {phase: connect.PhasePython,
		hint: "there is no sh in it: name an interpreter with exec:"},
	connect.ErrSetup: {phase: connect.PhaseStart,
		hint: "correct the program's configuration on the machine that starts it"},
	connect.ErrDaemon: {phase: connect.PhaseStart,
		hint: "see what mitogen daemon says, or go without --daemon"},
	connect.ErrForeign: {phase: connect.PhasePython,
		hint: "something else writes on the connection: look at the bytes shown"},
	connect.ErrDied: {
		phase:   connect.PhasePython,
		hint:    "run the same command by hand to see why",
		started: "the interpreter there ended while it started: run it by hand to see why",
	},
	connect.ErrBusy: {phase: connect.PhaseStart,
		hint: "another program holds the console: end it, or wait"},
	connect.ErrNoLogin:   {phase: connect.PhaseLogin, hint: "look at the console by hand"},
	connect.ErrCancelled: {phase: connect.PhaseStart},
	connect.ErrExhausted: {phase: connect.PhaseStart,
		hint: "allow more on the machine that starts it (ulimit -n, -u, -v), or take fewer targets at " +
			"once (-f)"},
}

// passing kinds may not be there a moment later, where a network is on the way.
var passing = map[error]bool{connect.ErrDisconnected: true, connect.ErrRefused: true,
	connect.ErrUnreachable: true,
	connect.ErrTimeout:     true}

// hints replace those of kinds for a method.
type hints map[error]advice

var sshHints = hints{
	connect.ErrUnknownHost: {phase: connect.PhaseLogin,
		hint: "check the host's name, and ~/.ssh/config"},
	connect.ErrRefused: {phase: connect.PhaseLogin,
		hint: "check that sshd runs there, and its port"},
	connect.ErrTimeout: {
		phase: connect.PhaseLogin,
		hint:  "check address and firewall, or allow more time with --connect-timeout",
		after: "the login is done, and something there holds it up: the login shell's start-up files, " +
			"a forced command, a question that nobody sees; log in with plain ssh to see it, or allow " +
			"more time with --connect-timeout",
		started: "the interpreter there has started, but is too slow: allow more time with " +
			"--connect-timeout",
	},
	connect.ErrDisconnected: {
		phase: connect.PhaseLogin,
		hint:  "try again; sshd's log says why (MaxStartups, access rules, a locked account)",
		after: "the login was accepted, and the session was not: sshd's log says why (MaxSessions, " +
			"limits, nologin)",
	},
	connect.ErrAuth: {phase: connect.PhaseLogin, hint: "check user, key and password with plain ssh"},
	connect.ErrNotPermitted: {phase: connect.PhaseLogin,
		hint: "the account takes no such command (a forced command, a restricted shell): allow it " +
			"there, or take another user"},
	connect.ErrNoShell: {phase: connect.PhasePython,
		hint: "the account's login shell, or sh, isn't there or can't be executed: check it (getent " +
			"passwd, ChrootDirectory)"},
	connect.ErrSetup: {phase: connect.PhaseStart,
		hint: "correct ssh's configuration or arguments on the machine that starts it; ssh -G HOST " +
			"shows what it makes of them"},
	connect.ErrDied: {
		phase: connect.PhasePython,
		hint: "the session ended before an interpreter was there: run the same command with plain ssh " +
			"to see why (a forced command, " +
			"start-up files, an interpreter that doesn't start)",
		started: "the interpreter there ended while it started: run it by hand to see why",
	},
}

var sudoHints = hints{
	connect.ErrAuth: {phase: connect.PhaseLogin,
		hint: "sudo lets the account in no more (expired, or PAM's rules): check it there with chage -l"},
	connect.ErrTTYRequired: {phase: connect.PhaseLogin,
		hint: "there is no terminal: check /dev/ptmx, the limit of pseudo-terminals and sudo's " +
			"requiretty"},
	connect.ErrSetup: {phase: connect.PhaseStart,
		hint: "correct sudo's installation or sudoers there (visudo -c)"},
	connect.ErrTimeout: {phase: connect.PhaseLogin,
		hint: "run sudo by hand to see what holds it up (name service, PAM, a log server), or allow " +
			"more time with --connect-timeout"},
	connect.ErrNoShell: {phase: connect.PhasePython,
		hint: "the account's login shell, or sh, isn't there or can't be executed: check it with " +
			"getent passwd"},
	connect.ErrDied: {phase: connect.PhasePython,
		hint: "run sudo with the same user by hand to see why"},
}

var suHints = hints{
	connect.ErrAuth: {phase: connect.PhaseLogin,
		hint: "give the right password of the user who is entered; check that su is allowed there " +
			"(PAM, group wheel) and the account not locked"},
	connect.ErrPasswordRequired: {phase: connect.PhaseLogin,
		hint: "give the password of the user who is entered"},
	connect.ErrTTYRequired: {phase: connect.PhaseLogin,
		hint: "this su asks on a terminal only: give a password, so that it gets one"},
	connect.ErrSetup: {phase: connect.PhaseStart,
		hint: "su must belong to root and be setuid there: check its installation"},
	connect.ErrTimeout: {phase: connect.PhaseLogin,
		hint: "run su by hand to see what holds it up (PAM, the login shell's start-up files), or " +
			"allow more time with --connect-timeout"},
	connect.ErrNoShell: {phase: connect.PhasePython,
		hint: "the account's login shell isn't there or can't be executed: check it with getent passwd"},
	connect.ErrNotPermitted: {phase: connect.PhaseLogin,
		hint: "the account's shell takes no command (nologin): take another user, or sudo"},
	connect.ErrDied: {phase: connect.PhasePython,
		hint: "run su -c with the same user by hand to see why"},
}

var doasHints = hints{
	connect.ErrAuth: {phase: connect.PhaseLogin,
		hint: "give the right password of the user who calls doas"},
	connect.ErrPasswordRequired: {phase: connect.PhaseLogin,
		hint: "give the password of the user who calls doas, or permit nopass in doas.conf there"},
	connect.ErrNotPermitted: {phase: connect.PhaseLogin, hint: "permit it in doas.conf there"},
	connect.ErrTTYRequired: {phase: connect.PhaseLogin,
		hint: "doas asks on a terminal only: check /dev/ptmx, and the limit of pseudo-terminals"},
	connect.ErrSetup: {phase: connect.PhaseStart,
		hint: "correct doas.conf there (doas -C /etc/doas.conf), and check that doas is setuid"},
	connect.ErrTimeout: {phase: connect.PhaseLogin,
		hint: "run doas by hand to see what holds it up, or allow more time with --connect-timeout"},
	connect.ErrDied: {phase: connect.PhasePython,
		hint: "run doas with the same user by hand to see why"},
}

var dockerHints = hints{
	connect.ErrRefused: {phase: connect.PhaseLogin,
		hint: "check that the engine runs (docker info), and where DOCKER_HOST or the context leads"},
	connect.ErrAuth: {phase: connect.PhaseLogin,
		hint: "check that the user may use the engine's socket (group docker), or put sudo before it"},
	connect.ErrNotFound: {phase: connect.PhaseLogin,
		hint: "check the name with docker ps -a, or docker images, on the machine that enters it"},
	connect.ErrTimeout: {phase: connect.PhaseLogin,
		hint: "run docker exec by hand to see what holds it up, or allow more time with " +
			"--connect-timeout"},
	connect.ErrDied: {phase: connect.PhasePython,
		hint: "run docker exec with the same container by hand to see why"},
	connect.ErrNoShell: {phase: connect.PhasePython,
		hint: "the image has no sh: name an interpreter with exec:"},
	connect.ErrSetup: {phase: connect.PhaseStart,
		hint: "correct docker's configuration on the machine that starts it"},
	connect.ErrNoCommand: {phase: connect.PhaseStart,
		hint: "install docker there, or give its path with --program"},
}

var podmanHints = hints{
	connect.ErrRefused: {phase: connect.PhaseLogin,
		hint: "check podman's connection (podman system connection list), and that its service runs"},
	connect.ErrAuth: {phase: connect.PhaseLogin,
		hint: "check whose container it is: each user has containers of their own; put sudo before it " +
			"for root's"},
	connect.ErrNotPermitted: {phase: connect.PhaseLogin,
		hint: "check whose container it is, and that the user has subordinate ids (/etc/subuid)"},
	connect.ErrNotFound: {phase: connect.PhaseLogin,
		hint: "check the name with podman ps -a, as the same user: each has containers of their own"},
	connect.ErrTimeout: {phase: connect.PhaseLogin,
		hint: "run podman exec by hand to see what holds it up, or allow more time with " +
			"--connect-timeout"},
	connect.ErrDied: {phase: connect.PhasePython,
		hint: "run podman exec with the same container by hand to see why"},
	connect.ErrSetup: {phase: connect.PhaseStart,
		hint: "correct podman's configuration on the machine that starts it (podman info)"},
}

var kubectlHints = hints{
	connect.ErrUnknownHost: {phase: connect.PhaseLogin,
		hint: "check the cluster's address (kubectl config view)"},
	connect.ErrRefused: {phase: connect.PhaseLogin,
		hint: "check the cluster's address (kubectl cluster-info), and which context is used"},
	connect.ErrTimeout: {phase: connect.PhaseLogin,
		hint: "check that the cluster answers (kubectl get pods), or allow more time with " +
			"--connect-timeout"},
	connect.ErrAuth: {phase: connect.PhaseLogin,
		hint: "check the login and its rights: kubectl auth can-i create pods/exec"},
	connect.ErrNotFound: {phase: connect.PhaseLogin,
		hint: "check namespace, pod and container with kubectl get pods"},
	connect.ErrSetup: {phase: connect.PhaseStart,
		hint: "correct kubectl's configuration (kubectl config get-contexts)"},
	connect.ErrDied: {phase: connect.PhasePython,
		hint: "run kubectl exec with the same pod by hand to see why"},
}

var lxcHints = hints{
	connect.ErrRefused: {phase: connect.PhaseLogin,
		hint: "check that its daemon runs, and that the user may use its socket"},
	connect.ErrAuth: {phase: connect.PhaseLogin,
		hint: "check that the user may enter it (root, or the daemon's group), or put sudo before it"},
	connect.ErrNotPermitted: {phase: connect.PhaseLogin,
		hint: "only root enters it: put sudo before it"},
	connect.ErrTimeout: {phase: connect.PhaseLogin,
		hint: "enter it by hand to see what holds it up, or allow more time with --connect-timeout"},
	connect.ErrDied: {phase: connect.PhasePython, hint: "enter it by hand to see why"},
}

var treeHints = hints{
	connect.ErrNotPermitted: {phase: connect.PhaseLogin,
		hint: "only root enters it: put sudo before it"},
	connect.ErrAuth: {phase: connect.PhaseLogin,
		hint: "only root enters it: put sudo before it"},
	connect.ErrNotFound: {phase: connect.PhaseLogin,
		hint: "check that it is there, on the machine that enters it"},
	connect.ErrNoShell: {phase: connect.PhasePython,
		hint: "there is no sh in the tree, or what it needs: name an interpreter with exec:"},
	connect.ErrDied: {phase: connect.PhasePython, hint: "enter it by hand to see why"},
}

// advice returns the advice for a kind: m's own if it has one, else that in kinds.
func (m method) advice(kind error) advice {
	if a, ok := m.hints[kind]; ok {
		return a
	}
	return kinds[kind]
}
