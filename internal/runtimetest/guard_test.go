package runtimetest

import (
	"fmt"
	"slices"
	"testing"
)

// starters are the functions of os that start programs, or that a library calls before it starts one.
const starters = "execv execve fork forkpty pipe pipe2 popen posix_spawn posix_spawnp system"

// guardAsked reports whether the context has asked for the guard.
func (l *link) guardAsked() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.asked, func(a ask) bool { return a.name == "_mitogen_guard" })
}

// TestWhatBringsTheGuard: a context asks for its guard before it starts a program, and for nothing less.
func TestWhatBringsTheGuard(t *testing.T) {
	const hooked = "import os\nresult = ' '.join([n for n in sorted(dir(os)) if getattr(getattr(os, n), '__name__', '') == 'load'])"
	each(t, func(t *testing.T, py interp) {
		l := start(t, py)
		want := l.call("rt:evaluate", fmt.Sprintf("' '.join([n for n in %q.split() if hasattr(__import__('posix'), n)])", starters)).value()
		equal(t, "functions that bring the guard", l.call("rt:execute", hooked).value(), want)
		for _, harmless := range []string{
			"os.getpid()", "os.open('/dev/null', 0)", "os.dup(1)",
			"hasattr(os, 'posix_fadvise') and os.posix_fadvise(os.open('/', 0), 0, 0, 0)",
		} {
			l.call("rt:execute", "import os\n"+harmless).value()
			equal(t, "the guard is asked for after "+harmless, l.guardAsked(), false)
		}
		l.call("rt:execute", "import os\nfor fd in os.pipe(): os.close(fd)").value()
		equal(t, "the guard is asked for after os.pipe", l.guardAsked(), true)
		equal(t, "functions that bring the guard, afterwards", l.call("rt:execute", hooked).value(), "")
	})
}
