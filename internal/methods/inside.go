package methods

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/lazyregexp"
)

// inside returns the method of a program that enters a container, machine or directory. Its hops
// are written "name:[user@]place"; the program is given the user, the place and a command.
//
// argv returns the program's arguments up to the command. place checks where it goes, user who
// enters.
func inside(name, program, what string, place, user func(what, s string) error,
	argv func(o connect.ProgramOptions, h Hop) []string) method {
	return method{
		parse: func(args string, given bool) (Hop, error) {
			if !given || args == "" {
				return Hop{}, fmt.Errorf("%q needs a %s: %s:[user@]%s", name, what, name, what)
			}
			h := Hop{Method: name, Host: args}
			if i := strings.LastIndexByte(args, '@'); i >= 0 {
				h.User, h.Host = args[:i], args[i+1:]
				if err := user("user", h.User); err != nil {
					return Hop{}, fmt.Errorf("%s: %w", name, err)
				}
			}
			if err := place(what, h.Host); err != nil {
				return Hop{}, fmt.Errorf("%s: %w", name, err)
			}
			return h, nil
		},
		format: formatInside,
		plan: func(h Hop, boot []string, opt connect.Options, _ bool) (Plan, error) {
			if h.Host == "" {
				return Plan{}, fmt.Errorf("no %s", what)
			}
			o := opt.Programs[name]
			args := append([]string{or(o.Path, program)}, argv(o, h)...)
			return Plan{Argv: append(args, boot...)}, nil
		},
		symptoms: insideSymptoms,
		hints:    insideHints[name],
		remote:   far[name],
	}
}

// insideHints gives the hints for failures of programs that enter something, by method.
var insideHints = map[string]hints{
	"buildah": podmanHints, "chroot": treeHints, "docker": dockerHints, "docker-run": dockerHints,
	"incus": lxcHints, "jail": treeHints,
	"lxc": lxcHints, "lxd": lxcHints, "machinectl": lxcHints, "nspawn": treeHints,
	"podman": podmanHints, "podman-run": podmanHints,
}

// far are the names of those whose daemon may be another machine's.
var far = map[string]bool{"docker": true, "docker-run": true, "podman": true, "podman-run": true,
	"lxd": true, "incus": true}

// near is m for programs that become what they start.
func near(m method) method {
	m.near = true
	return m
}

func formatInside(h Hop) string {
	if h.User != "" {
		return h.Method + ":" + h.User + "@" + h.Host
	}
	return h.Method + ":" + h.Host
}

// checkPath is checkWord for names with slashes, as those of directories and images.
func checkPath(what, s string) error { return checkWord(what, strings.ReplaceAll(s, "/", "")) }

// checkDir wants an absolute path: a relative one would mean something else in each hop.
func checkDir(what, s string) error {
	if !strings.HasPrefix(s, "/") {
		return fmt.Errorf("%s %q is no absolute path", what, s)
	}
	return checkName(what, s, special+`\`)
}

// checkUID is for programs that know no names of users there.
func checkUID(what, s string) error {
	if _, err := strconv.ParseUint(s, 10, 31); err != nil {
		return fmt.Errorf("%s %q is no number, and names aren't known there", what, s)
	}
	return nil
}

// flagged returns flag and value where there is a value.
func flagged(flag, value string) []string {
	if value == "" {
		return nil
	}
	return []string{flag, value}
}

// words makes one list of several.
func words(lists ...[]string) []string {
	var all []string
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// insideSymptoms are those of all that enter containers; their texts don't clash.
var insideSymptoms = []symptom{
	{text: "operation not permitted", kind: connect.ErrNotPermitted},
	{match: lazyregexp.New(`(stat of|cannot open) /proc/\S+( failed)?: permission denied`),
		kind: connect.ErrNotPermitted},
	{text: "no such container", kind: connect.ErrNotFound},
	{text: "no container with name or id", kind: connect.ErrNotFound},
	{text: "container not known", kind: connect.ErrNotFound},
	{text: "unable to find image", kind: connect.ErrNotFound},
	{text: "no such image", kind: connect.ErrNotFound},
	{text: "manifest unknown", kind: connect.ErrNotFound},
	{text: "pull access denied", kind: connect.ErrNotFound},
	{text: "(notfound)", kind: connect.ErrNotFound},
	{text: "container not found", kind: connect.ErrNotFound},
	{text: "instance not found", kind: connect.ErrNotFound},
	{text: "context was not found", kind: connect.ErrNotFound},
	{text: "context \"", kind: connect.ErrSetup},
	{text: "failed to get the init pid", kind: connect.ErrNotFound},
	{text: "failed to get attach context", kind: connect.ErrNotFound},
	{text: "stat of /proc/", kind: connect.ErrNotFound},
	{text: "no target pid specified", kind: connect.ErrNotRunning},
	{text: "no machine", kind: connect.ErrNotFound},
	{text: "jail \"", kind: connect.ErrNotFound},
	{text: "cannot change root directory", kind: connect.ErrNotFound},
	{text: "failed to resolve path", kind: connect.ErrNotFound},
	{text: "has not been booted with systemd", kind: connect.ErrSetup,
		hint: "it needs systemd as the machine's first process"},
	{text: "cannot open /proc/", kind: connect.ErrNotFound},
	{text: "is not running", kind: connect.ErrNotRunning},
	{text: "is paused", kind: connect.ErrNotRunning},
	{text: "is stopped", kind: connect.ErrNotRunning},
	{text: "container state improper", kind: connect.ErrNotRunning},
	{text: "unable to find user", kind: connect.ErrUnknownUser},
	{text: "no such user", kind: connect.ErrUnknownUser},
	{text: "invalid user", kind: connect.ErrUnknownUser},
	{text: "unable to upgrade connection", kind: connect.ErrUnreachable},
	{text: "cannot connect to the docker daemon at unix:", kind: connect.ErrRefused, lasting: true},
	{text: "cannot connect to the docker daemon", kind: connect.ErrRefused},
	{text: "unable to connect to podman socket", kind: connect.ErrRefused},
	{text: "failed to connect to the docker api at unix:", kind: connect.ErrRefused, lasting: true},
	{text: "failed to connect to the docker api", kind: connect.ErrRefused},
	{text: "the connection to the server", kind: connect.ErrRefused},
	{text: "connection refused", kind: connect.ErrRefused},
	{text: "failed to connect to bus", kind: connect.ErrRefused},
	{text: "i/o timeout", kind: connect.ErrTimeout},
	{text: "no such host", kind: connect.ErrUnknownHost},
	{text: "you must be logged in to the server", kind: connect.ErrAuth},
	{text: "forbidden", kind: connect.ErrAuth},
	{text: "permission denied", kind: connect.ErrAuth},
	{text: "not authorized", kind: connect.ErrAuth},
	{text: "executable file not found", kind: connect.ErrNoShell},
}
