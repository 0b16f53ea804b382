package methods

import (
	"bytes"
	"slices"
	"strings"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/lazyregexp"
)

// noPythonWord is NoPython without Marker.
var noPythonWord = boot.NoPython[len(boot.Marker):]

var (
	// loginLine matches the line that ssh prints when the server has accepted the login.
	loginLine = lazyregexp.New(`(?m)^Authenticated to .* using ".*"\.\r?$`)

	// notYet are ssh's own words that come before a login only.
	notYet = lazyregexp.New(`(?mi)^(\S+: permission denied \(.*\)\.?|` +
		`kex_exchange_identification: .*|stdio forwarding failed.*|host key verification failed\.?|` +
		`connection closed by unknown port \d+|received disconnect from .*too many authentication ` +
		`failures.*)\r?$`)

	// ownLines are for this program, or of no use to anybody.
	ownLines = lazyregexp.New(`(?mi)^(` + strings.Join([]string{
		`Authenticated to .* using ".*"\.`,
		`Transferred: sent \d+, received \d+ bytes, in .* seconds`,
		`Bytes per second: sent .*, received .*`,
		`Learned new hostkey: .*`,
		`Deprecating obsolete hostkey: .*`,
		`Warning: Permanently added .* to the list of known hosts\.`,
		boot.EC0, boot.EC1, boot.EC2,
		`.*` + boot.NoPython + `.*`,
	}, "|") + `)\r?(\n|$)`)

	// bootCode is a part of the boot command, however it is quoted: to its end, or to the end of the
	// line.
	bootCode = lazyregexp.New(`(?i)` + bootBegin + `(.*(readline[\\(]*\)[\\)]*|` + boot.Marker +
		`\W*` + noPythonWord + `|exec\W{0,4}"\$@")|.*)`)
	// shellPrefix matches the text that a shell puts before its messages: $0, which is code, and a
	// line number.
	shellPrefix = lazyregexp.New(`(?m)^…: (line )?(\d+: )?`)
	// transferredLine matches a line that ssh prints when the remote program has ended the session.
	transferredLine = lazyregexp.New(`(?mi)^Transferred: sent \d+, `)
	// bootWords are in the words of the boot command for the shell, and not in those for Python.
	bootWords = lazyregexp.New(`(?i)PYTHONSAFEPATH|echo\W{1,6}` + boot.Marker)
	// pythonWords begin what is for Python.
	pythonWords = lazyregexp.New(`(?i)` + pythonBegin)

	// warning is a line of ssh's that may have nothing to do with the end.
	warning = lazyregexp.New(`(?i)^(warning: identity file|load key|load pubkey) .*`)

	// aftermath matches lines that say only that all is over, after a line that says why.
	aftermath = lazyregexp.New(`(?i)^(` + strings.Join([]string{
		`connection (to .* )?(closed|reset) by .*`,
		`connection to .* closed\.?`,
		`kex_exchange_identification: (read: )?connection (closed|reset) by .*`,
		`disconnected from .*`,
		`(client_loop|ssh_dispatch_run_fatal|packet_write_wait|stdio forwarding failed|` +
			`lost connection).*`,
		`.*terminating, \d+ bad configuration options`,
		`sudo: error initializing audit plugin .*`,
		`sudo: (a password is required|unable to resolve host .*)`,
		`command terminated with exit code \d+`,
		`(error: )?exit status \d+`,
		`current thread 0x.*`,
		`<no python frame>`,
		`python runtime state: .*`,
		`note: see 'pyenv .*`,
		`killed|terminated`,
		`(try|run|see) ['"` + "`" + `].*['"` + "`" + `]( for more information)?\.?`,
		`see the .* (man page|manual) for .*`,
		`\*\* .*`, // what ssh 10 says of the key exchange
		`.*` + "`…'?",
		`…`,
		`[\s^~|]+`,
	}, "|") + `)$`)
)

const (
	pythonBegin = `import\W{1,4}sys\W{1,4}p\W{1,4}sys\W{1,4}path`
	bootBegin   = `(export\W{1,4}PYTHONSAFEPATH|\{\W{1,4}echo\W{1,4}echo\W{1,4}` + boot.Marker + `|` +
		pythonBegin + `)`
)

// PlainWords takes what people need not see from the words of a program: markers, and the boot
// command, which refusals quote. Tracebacks of the runtime name its sources.
func PlainWords(text string) string {
	text = strings.ReplaceAll(text, sudoPrompt, "")
	text = bootCode.ReplaceAllString(ownLines.ReplaceAllString(text, ""), "…")
	return boot.Readable(shellPrefix.ReplaceAllString(text, ""))
}

// A LoginWatch reads the words of an ssh, and knows whether they say that the server has accepted
// the login. A server says what it likes before, and a jump host's login comes before its target's:
// so none of ssh's own words that only come before a login may follow. Words are no proof: what a
// server does with a login that it only pretends is its own concern. The zero value is ready. One
// goroutine uses it.
type LoginWatch struct {
	LoggedIn bool

	line []byte // begun, at most TextLimit+1 bytes: such a line is none of ssh's
}

// Feed takes what was read, wherever reads cut it.
func (w *LoginWatch) Feed(b []byte) {
	for len(b) > 0 {
		part, rest, whole := bytes.Cut(b, []byte("\n"))
		w.line = append(w.line, part[:min(len(part), TextLimit+1-len(w.line))]...)
		if whole {
			w.judge()
			w.line = w.line[:0]
		}
		b = rest
	}
}

// judge looks at a line.
func (w *LoginWatch) judge() {
	switch line := string(w.line); {
	case len(line) > TextLimit:
	case loginLine.MatchString(line):
		w.LoggedIn = true
	case w.LoggedIn && notYet.MatchString(line):
		w.LoggedIn = false
	}
}

// LoggedIn tells what a LoginWatch knows after the words of an ssh.
func LoggedIn(text string) bool {
	var w LoginWatch
	w.Feed([]byte(text))
	w.judge() // the last line, which may have no end
	return w.LoggedIn
}

// OwnLine tells whether a line that ssh prints while a context runs, or as it ends, is of no use to
// anybody.
func OwnLine(line string) bool { return ownLines.MatchString(line) }

// refusedCommand tells whether a text quotes what the shell was to execute.
func refusedCommand(text string) bool { return bootWords.MatchString(text) }

// refusedCode tells whether a text quotes what Python was to execute, as a program does that isn't
// Python.
func refusedCode(text string) bool {
	return pythonWords.MatchString(text) &&
		!strings.Contains(strings.ToLower(text), "traceback (most recent call last)")
}

// maxEscapes is the number of escaped bytes from which on a line is no message.
const maxEscapes = 8

// telling returns the lines of a text that say most. If a symptom matches, that is the first line
// that it matches. Else it is the last n lines, without those that only say that all is over. What
// stands before a program's usage says what is wrong with the call.
func telling(text string, symptoms []symptom, n int) string {
	var lines, last, before []string
	usage := false
	for line := range strings.Lines(text) {
		usage = usage && strings.TrimLeft(line, " \t") != line
		if line = strings.TrimSpace(line); line == "" || usage {
			continue
		}
		if usage = strings.HasPrefix(strings.ToLower(line), "usage:"); usage && before == nil {
			before = lines
		}
		last = []string{line}
		if !usage && !aftermath.MatchString(line) && strings.Count(line, `\x`) < maxEscapes {
			lines = append(lines, line)
		}
	}
	for _, s := range symptoms {
		for _, line := range lines {
			if !s.quiet && s.in(strings.ToLower(line)) {
				return line
			}
		}
	}
	if len(before) > 0 {
		lines = before
	}
	if lines = slices.DeleteFunc(lines, warning.MatchString); len(lines) == 0 {
		lines = last
	}
	return strings.Join(lines[max(0, len(lines)-n):], " ")
}
