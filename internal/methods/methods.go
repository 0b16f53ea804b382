// Package methods knows the ways to start a process somewhere. It turns what a person types (a
// target) into hops, a hop into a Plan, and what came of carrying out a plan into an error one can
// act on. It is pure: it starts nothing and reads nothing. Plans are carried out by package spawn
// on this machine, and by the runtime in a hop.
//
// A connection method is one file and one line in the table below.
package methods

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/mitogen-go/mitogen/connect"
)

// A Hop is one element of a target.
type Hop struct {
	Method string // one of Methods
	User   string // empty: the method's default
	// what is entered: host (an IPv6 address without brackets), container, directory, process, command
	Host string
	Port int // ssh's, or the baud of a console; 0: the default
}

// A Plan says what to execute and how to talk to it until the context answers. It may hold secrets
// (in Prompts); String doesn't show them.
type Plan struct {
	Name   string   // the hop as a person would type it
	Method string   // for Classify
	Argv   []string // looked up in PATH; never holds a secret
	Env    []string // "NAME=value", added to the environment; never holds a secret
	// the same before Env, of the process that the request is from; "NAME" is taken from the
	// environment
	Origin []string
	Dir    string // where it is started; "": the directory of the engine or hop that starts it
	TTY    bool   // a controlling terminal of its own besides the pipes
	Wait   bool   // stdin is that terminal: send after EC0
	Ask    Ask    // how questions reach the engine or the user
	// who leads the terminal's dialogue; only a hop carries out another than TalkPrompts
	Talk    Talk
	Prompts []Prompt      // for the terminal's dialogue
	Timeout time.Duration // whole connect; 0: none
	Fork    bool          // a hop that has run nothing yet may start a copy of itself instead of Argv
	Python  string        // with Fork: a copy takes the place of this interpreter only; "": of any
	// the console on which Argv is to be started; nil: it is started as a process
	Line *Line
	Near bool // the engine or hop that starts it sees it and its children in the process table

	Bare   bool   // its head is all that its stdin begins with: no image does
	Remove string // a directory with the program, to be removed once that is started; "": none

	// Alone says that the process is a client which may wait for other things than its stdin, and has
	// nothing of its own: the kernel is to kill it when the engine dies. A context must not die so,
	// because what it has started would stay; it ends with its stream, and its process group with it.
	Alone bool
}

// A Prompt is one question of the dialogue. The needle is looked for in the unfinished last line,
// without regard to ASCII case. The answer is typed once, with a newline, and only while the
// program that asks waits for it: it has turned off the terminal's echo, and has started nothing
// yet. A nil answer says that there is none, which fails the connect.
type Prompt struct {
	Needle []byte
	Answer []byte
}

// Ask is a way for a program to ask questions besides its terminal.
type Ask int

// The ways to ask.
const (
	AskNone Ask = iota // it can't, or asks on its terminal only
	AskPass            // through SSH_ASKPASS: see package askpass
)

// Talk is a way to lead the dialogue until an interpreter is there.
type Talk int

// Who leads it.
const (
	TalkPrompts Talk = iota // Prompts
	// the caller of the engine; answers are written to stdin, before all else
	TalkStdin
	TalkTerminal // the same, typed on the terminal
	// the same, but what is shown elsewhere than on the terminal is no question, and nothing waits for
	// the answers
	TalkQuestions
	// Prompts; what they have no answer to is asked, and its answer typed if the program still waits
	// for it
	TalkAsk
)

// A method is an entry of the table: all there is to know about one way in.
type method struct {
	// args: what follows "method:"; given: there was a colon
	parse  func(args string, given bool) (Hop, error)
	format func(h Hop) string
	quotes bool // parse and format treat backslashes themselves
	plan   func(h Hop, boot []string, opt connect.Options, here bool) (Plan, error)

	symptoms []symptom // of Failure.Text, first match wins
	late     []symptom // instead of symptoms once the login is done
	session  []symptom // besides symptoms, whatever the exit status
	status   int       // exit status of the method's own failures, which symptoms tell apart; 0: any
	silent   error     // kind of such a status without a symptom; nil: ErrDied
	wrong    error     // kind of a repeated prompt; nil: ErrAuth
	hints    hints     // instead of those of kinds
	remote   bool      // there may be a network on the way
	direct   bool      // it starts the interpreter, and enters nothing
	near     bool      // see Plan.Near; else its program is a client, which can be killed alone
}

var methods map[string]method

func init() { // not a literal: parse and format of ssh look at the table
	methods = map[string]method{
		"buildah":    buildahMethod,
		"chroot":     chrootMethod,
		"console":    consoleMethod,
		"doas":       doasMethod,
		"docker":     dockerMethod,
		"docker-run": dockerRunMethod,
		"exec":       execMethod,
		"fork":       forkMethod,
		"incus":      incusMethod,
		"ipmi":       ipmiMethod,
		"jail":       jailMethod,
		"kubectl":    kubectlMethod,
		"local":      localMethod,
		"lxc":        lxcMethod,
		"lxd":        lxdMethod,
		"machinectl": machinectlMethod,
		"nspawn":     nspawnMethod,
		"podman":     podmanMethod,
		"podman-run": podmanRunMethod,
		"serial":     serialMethod,
		"setns":      setnsMethod,
		"ssh":        sshMethod,
		"su":         suMethod,
		"sudo":       sudoMethod,
	}
}

// Methods returns the names of all connection methods, sorted.
func Methods() []string {
	names := make([]string, 0, len(methods))
	for name := range methods {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// ParseTarget reads "hop+hop+…". A hop is "method[:args]", or "[user@]host[:port]", which means
// ssh; "ssh://[user@]host[:port]" means the same. A host that is called like a method is written
// "ssh:name". An IPv6 address with a port, and a name with colons, stand in brackets. A backslash
// before a +, a comma or a backslash makes it part of the hop; other backslashes stand for
// themselves, as in CORP\user.
func ParseTarget(target string) ([]Hop, error) {
	var hops []Hop
	for _, text := range splitHops(target) {
		h, err := ParseHop(text)
		if err != nil {
			return nil, fmt.Errorf("parse target %q: %w", target, err)
		}
		hops = append(hops, h)
	}
	return hops, nil
}

// FormatTarget writes hops as a target, for which ParseTarget returns exactly these hops. An error
// names a hop that the grammar can't express, such as a host that begins with a hyphen.
func FormatTarget(hops []Hop) (string, error) {
	texts := make([]string, len(hops))
	for i, h := range hops {
		texts[i] = h.String()
		if again, err := ParseTarget(texts[i]); err != nil {
			return "", err
		} else if len(again) != 1 || again[0] != h {
			return "", fmt.Errorf("format target: %q is not one hop", texts[i])
		}
	}
	return strings.Join(texts, "+"), nil
}

// splitHops cuts a target at each + that has no backslash before it.
func splitHops(target string) []string {
	var all []string
	begin := 0
	for i := 0; i < len(target); i++ {
		switch target[i] {
		case '\\':
			i++
		case '+':
			all = append(all, target[begin:i])
			begin = i + 1
		}
	}
	return append(all, target[begin:])
}

// escaped are the characters before which a backslash is removed.
const escaped = `+,\`

// unescape removes the backslashes that make a character part of a hop.
func unescape(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+1 < len(text) && strings.IndexByte(escaped, text[i+1]) >= 0 {
			i++
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

// escape writes text so that unescape returns it, with as few backslashes as that takes. Commas
// separate targets only where a list of them is given, so they stay.
func escape(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		ambiguous := i+1 == len(text) || strings.IndexByte(escaped, text[i+1]) >= 0
		if text[i] == '+' || text[i] == '\\' && ambiguous {
			b.WriteByte('\\')
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

// ParseHop reads one element of a target.
func ParseHop(text string) (Hop, error) {
	if text == "" {
		return Hop{}, fmt.Errorf("empty hop")
	}
	name, args, given := strings.Cut(text, ":")
	m, ok := methods[name]
	switch {
	case !ok:
		return parseAddress(unescape(text))
	case m.quotes:
		return m.parse(args, given)
	}
	return m.parse(unescape(args), given)
}

// String returns the text of h, which ParseHop parses as the same hop.
func (h Hop) String() string {
	m, ok := methods[h.Method]
	switch {
	case !ok:
		return h.Method
	case m.quotes:
		return m.format(h)
	}
	return escape(m.format(h))
}

// Plan says how to start boot behind the hop. With here the plan is carried out on the engine's
// machine, where questions can be answered through askpass; otherwise by a hop, which has only a
// terminal to type on. boot may be any command: no method looks into it.
func (h Hop) Plan(boot []string, opt connect.Options, here bool) (Plan, error) {
	m, ok := methods[h.Method]
	if !ok {
		return Plan{}, fmt.Errorf("plan hop: unknown method %q", h.Method)
	}
	if len(boot) == 0 {
		return Plan{}, fmt.Errorf("plan hop %s: no command", h)
	}
	if _, err := FormatTarget([]Hop{h}); err != nil { // a field that means more than a name somewhere
		return Plan{}, fmt.Errorf("plan hop: %w", err)
	}
	p, err := m.plan(h, boot, opt, here)
	if err != nil {
		return Plan{}, fmt.Errorf("plan hop %s: %w", h, err)
	}
	for _, a := range p.Answers() {
		if err := CheckAnswer(string(a)); err != nil {
			return Plan{}, fmt.Errorf("plan hop %s: %w", h, err)
		}
	}
	p.Name, p.Method, p.Timeout, p.Near, p.Alone = h.String(), h.Method, timeout(opt), m.near, !m.near
	if p.Line != nil && opt.Timeout == 0 {
		p.Timeout = p.Line.timeout()
	}
	return p, nil
}

// Answers returns the plan's different answers, which must not be changed.
func (p Plan) Answers() (all [][]byte) {
	for _, q := range p.Prompts {
		same := func(a []byte) bool { return bytes.Equal(a, q.Answer) }
		if q.Answer != nil && !slices.ContainsFunc(all, same) {
			all = append(all, q.Answer)
		}
	}
	return all
}

// Mask returns a Mask of the plan's answers.
func (p Plan) Mask() *Mask {
	m := &Mask{}
	for _, a := range p.Answers() {
		m.Add(unsafe.String(unsafe.SliceData(a), len(a))) // no copy
	}
	return m
}

// String shows the command, without environment and answers.
func (p Plan) String() string { return fmt.Sprintf("%s: %q", p.Name, p.Argv) }

// Format writes String for every verb.
func (p Plan) Format(f fmt.State, _ rune) { io.WriteString(f, p.String()) }

// MarshalText returns String, for JSON and logs.
func (p Plan) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// String shows the needle only.
func (p Prompt) String() string { return fmt.Sprintf("prompt %q", p.Needle) }

// Format writes String for every verb.
func (p Prompt) Format(f fmt.State, _ rune) { io.WriteString(f, p.String()) }

// MarshalText returns String, for JSON and logs.
func (p Prompt) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// Environ returns env, with what the plan adds and takes away. Some programs take the first of a
// name, so there is one.
func (p Plan) Environ(env []string) []string {
	env = slices.Clone(env)
	for _, entry := range slices.Concat(p.Origin, p.Env) {
		name, _, set := strings.Cut(entry, "=")
		env = slices.DeleteFunc(env, func(old string) bool { return strings.HasPrefix(old, name+"=") })
		if set {
			env = append(env, entry)
		}
	}
	return env
}
