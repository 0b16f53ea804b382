package connect

import (
	"fmt"
	"strconv"
	"strings"
)

// inside is how most methods that enter a container, machine or directory are made: "name:[user@]place", and a program
// that is given both and a command.
//
// argv returns the program's arguments up to the command. place checks where it goes, user who enters.
func inside(name, program, what string, place, user func(what, s string) error, argv func(o ProgramOptions, h Hop) []string) method {
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
		plan: func(h Hop, boot []string, opt Options, _ bool) (Plan, error) {
			if h.Host == "" {
				return Plan{}, fmt.Errorf("no %s", what)
			}
			o := opt.Programs[name]
			args := append([]string{or(o.Path, program)}, argv(o, h)...)
			return Plan{Argv: append(args, boot...)}, nil
		},
		symptoms: insideSymptoms,
	}
}

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
	if s == "/" {
		return nil
	}
	return checkPath(what, s)
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
	{"operation not permitted", ErrNotPermitted},
	{"no such container", ErrNotFound},
	{"no container with name or id", ErrNotFound},
	{"container not known", ErrNotFound},
	{"unable to find image", ErrNotFound},
	{"no such image", ErrNotFound},
	{"manifest unknown", ErrNotFound},
	{"pull access denied", ErrNotFound},
	{"(notfound)", ErrNotFound},
	{"container not found", ErrNotFound},
	{"instance not found", ErrNotFound},
	{"context was not found", ErrNotFound},
	{"context \"", ErrSetup},
	{"failed to get the init pid", ErrNotFound},
	{"failed to get attach context", ErrNotFound},
	{"stat of /proc/", ErrNotFound},
	{"no target pid specified", ErrNotRunning},
	{"no machine", ErrNotFound},
	{"jail \"", ErrNotFound},
	{"cannot change root directory", ErrNotFound},
	{"cannot open /proc/", ErrNotFound},
	{"is not running", ErrNotRunning},
	{"is paused", ErrNotRunning},
	{"is stopped", ErrNotRunning},
	{"container state improper", ErrNotRunning},
	{"unable to find user", ErrUnknownUser},
	{"no such user", ErrUnknownUser},
	{"invalid user", ErrUnknownUser},
	{"unable to upgrade connection", ErrUnreachable},
	{"cannot connect to the docker daemon", ErrRefused},
	{"connection refused", ErrRefused},
	{"the connection to the server", ErrRefused},
	{"i/o timeout", ErrTimeout},
	{"no such host", ErrUnknownHost},
	{"you must be logged in to the server", ErrAuth},
	{"forbidden", ErrAuth},
	{"permission denied", ErrAuth},
	{"not authorized", ErrAuth},
	{"executable file not found", ErrNoShell},
}
