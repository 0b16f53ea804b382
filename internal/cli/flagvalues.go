package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/methods"
)

// must is for errors that only a mistake in this package makes.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// duration is a flag's time.Duration. A bare number is seconds.
type duration time.Duration

func (d *duration) String() string {
	if *d == 0 {
		return ""
	}
	return time.Duration(*d).String()
}

func (d *duration) Set(s string) error {
	v, err := parseDuration(s)
	if err != nil || v <= 0 {
		return fmt.Errorf("not a duration: 90, 1.5m")
	}
	*d = duration(v)
	return nil
}

func (d *duration) Type() string { return "DURATION" }

// parseDuration reads a duration. A bare number is seconds.
func parseDuration(s string) (time.Duration, error) {
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		s += "s"
	}
	return time.ParseDuration(s)
}

// heartbeat is the flag --heartbeat, as mitogen.Options.Heartbeat: 0 is the default, and negative
// is off.
type heartbeat time.Duration

func (h *heartbeat) String() string {
	switch {
	case *h == 0:
		return ""
	case *h < 0:
		return "0"
	}
	return time.Duration(*h).String()
}

func (h *heartbeat) Set(s string) error {
	v, err := parseDuration(s)
	switch {
	case err != nil || v < 0 || 0 < v && v < time.Second:
		return fmt.Errorf("not 0, and not a duration of at least a second: 90, 1.5m")
	case v == 0:
		v = -1
	}
	*h = heartbeat(v)
	return nil
}

func (h *heartbeat) Type() string { return "DURATION" }

// targetList is the flag -t.
type targetList []string

func (l *targetList) String() string { return strings.Join(*l, ",") }

func (l *targetList) Set(s string) error {
	return l.add(s, func(w string) string { return w })
}

// add adds the words of a list. targetOf returns the target in a word.
func (l *targetList) add(s string, targetOf func(string) string) error {
	words := splitList(s)
	if len(words) == 0 {
		return fmt.Errorf("empty target")
	}
	for _, w := range words {
		if _, err := methods.ParseTarget(targetOf(w)); err != nil {
			if inner := errors.Unwrap(err); inner != nil { // without the target, which pflag names
				err = inner
			}
			return err
		}
	}
	*l = append(*l, words...)
	return nil
}

func (l *targetList) Type() string { return "TARGET" }

// namedTargets is the flag -t of commands whose targets may have names, until takeNames.
type namedTargets targetList

func (l *namedTargets) String() string { return (*targetList)(l).String() }
func (l *namedTargets) Type() string   { return (*targetList)(l).Type() }

func (l *namedTargets) Set(s string) error {
	return (*targetList)(l).add(s, func(w string) string {
		if m := targetName.FindStringSubmatch(w); m != nil {
			return m[2]
		}
		return w
	})
}

// hostKeys is the flag --host-keys.
type hostKeys connect.HostKeys

func (k *hostKeys) String() string { return string(*k) }

func (k *hostKeys) Set(s string) error {
	for _, name := range hostKeyNames {
		if s == name {
			*k = hostKeys(s)
			return nil
		}
	}
	return fmt.Errorf("none of %s", strings.Join(hostKeyNames, ", "))
}

func (k *hostKeys) Type() string { return "POLICY" }
