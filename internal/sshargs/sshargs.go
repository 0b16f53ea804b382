// Package sshargs parses the arguments that third-party programs give to ssh. It is pure: words in,
// a value or an error out. The rules are OpenSSH's: options stand before the host, and between it
// and the command, whose words are joined by blanks.
package sshargs

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Terminal says whether a session has a terminal.
type Terminal int

// Values of Terminal.
const (
	TerminalAuto  Terminal = iota // if there is no command and stdin is a terminal
	TerminalNever                 // -T
	TerminalAsk                   // -t: if stdin is a terminal
	TerminalForce                 // -tt
)

// Args hold the requests of a command line of ssh.
type Args struct {
	Host, User string // User is "" where none was given
	Port       int    // 0: none was given

	Command   string // "": a login shell
	Subsystem bool   // -s: Command is the name of one

	Terminal  Terminal
	NoStdin   bool // -n
	NoCommand bool // -N
	Behind    bool // -f
	Quiet     bool // -q
	Verbose   int  // -v

	Stdio    string    // -W HOST:PORT
	Forwards []Forward // in their order
	Agent    bool      // -A; AgentPath has more

	// ForwardAgent and IdentityAgent are values of -o that name an agent's socket; "": none given.
	ForwardAgent, IdentityAgent string

	Control string // -O: check, exit, …
	Query   string // -Q
	Config  bool   // -G
	Version bool   // -V

	Escape  string   // -e
	SendEnv []string // patterns of names
	SetEnv  []string // NAME=VALUE
}

// Forward is an option -L, -R or -D, by its letter, and its value.
type Forward struct {
	Kind  byte
	Value string
}

// Error is a command line that ssh would refuse.
type Error struct{ Problem string }

func (e *Error) Error() string { return e.Problem }

func refuse(format string, args ...any) error { return &Error{fmt.Sprintf(format, args...)} }

// What ssh's options are: those without a value, and those with one. What flag and value don't name
// says how to connect, and is of no use to what is connected already.
const (
	flags  = "1246AaCfGgKkMNnqsTtVvXxYy"
	values = "BbcDEeFIiJLlmOoPpQRSWw"
)

// parser holds the state of a command line that is being parsed.
type parser struct {
	Args
	options map[string]string // of -o, by their names in lower case; the first counts
	agent   bool              // it was said whether Agent is set
}

// Parse reads the arguments of ssh, without its name.
func Parse(argv []string) (*Args, error) {
	p := &parser{options: map[string]string{}}
	rest, ended, err := p.take(argv)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		if err := p.host(rest[0]); err != nil {
			return nil, err
		}
		if rest = rest[1:]; !ended {
			if rest, _, err = p.take(rest); err != nil {
				return nil, err
			}
		}
	}
	p.Command = strings.Join(rest, " ")
	if err := p.settle(len(rest) > 0); err != nil {
		return nil, err
	}
	return &p.Args, nil
}

// take reads options, and returns what comes behind them. ended: that is because of "--".
func (p *parser) take(argv []string) (rest []string, ended bool, err error) {
	for len(argv) > 0 && len(argv[0]) > 1 && argv[0][0] == '-' {
		word := argv[0][1:]
		argv = argv[1:]
		if word == "-" {
			return argv, true, nil
		}
		for word != "" {
			letter := word[0]
			word = word[1:]
			switch {
			case strings.IndexByte(flags, letter) >= 0:
				err = p.flag(letter)
			case strings.IndexByte(values, letter) < 0:
				err = refuse("unknown option -- %s", strconv.QuoteToASCII(string(rune(letter))))
			case word == "" && len(argv) == 0:
				err = refuse("option requires an argument -- %c", letter)
			default:
				if word == "" {
					word, argv = argv[0], argv[1:]
				}
				err = p.value(letter, word)
				word = ""
			}
			if err != nil {
				return nil, false, err
			}
		}
	}
	return argv, false, nil
}

func (p *parser) flag(letter byte) error {
	switch letter {
	case 'A', 'a':
		p.Agent, p.agent = letter == 'A', true
	case 'f':
		p.Behind, p.NoStdin = true, true
	case 'G':
		p.Config = true
	case 'N':
		p.NoCommand = true
	case 'n':
		p.NoStdin = true
	case 'q':
		p.Quiet = true
	case 's':
		p.Subsystem = true
	case 'T':
		p.Terminal = TerminalNever
	case 't':
		if p.Terminal == TerminalAsk || p.Terminal == TerminalForce {
			p.Terminal = TerminalForce
		} else {
			p.Terminal = TerminalAsk
		}
	case 'V':
		p.Version = true
	case 'v':
		p.Verbose++
	}
	return nil
}

func (p *parser) value(letter byte, value string) error {
	switch letter {
	case 'D', 'L', 'R':
		p.Forwards = append(p.Forwards, Forward{letter, value})
	case 'e':
		if p.Escape == "" {
			p.Escape = value
		}
	case 'l':
		p.user(value)
	case 'O':
		p.Control = value
	case 'o':
		return p.option(value)
	case 'p':
		return p.port(value)
	case 'Q':
		p.Query = value
	case 'W':
		if p.Stdio != "" {
			return refuse("-W: got two, want one")
		}
		p.Stdio, p.Terminal = value, TerminalNever
	case 'w':
		return refuse("-w: tunnel devices don't go through the tree")
	}
	return nil
}

func (p *parser) user(name string) {
	if p.User == "" {
		p.User = name
	}
}

func (p *parser) port(text string) error {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return refuse("bad port %s", strconv.QuoteToASCII(text))
	}
	if p.Port == 0 {
		p.Port = int(n)
	}
	return nil
}

// host reads [USER@]HOST or ssh://[USER@]HOST[:PORT].
func (p *parser) host(text string) error {
	rest, url := strings.CutPrefix(text, "ssh://")
	if url {
		rest = strings.TrimSuffix(rest, "/")
	}
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		if i == 0 {
			return refuse("bad host %s", strconv.QuoteToASCII(text))
		}
		user, _, _ := strings.Cut(rest[:i], ";") // parameters of a connection
		if !url {
			user = rest[:i]
		}
		p.user(user)
		rest = rest[i+1:]
	}
	if url {
		host, port := rest, ""
		if i := strings.LastIndexByte(rest, ':'); i > strings.LastIndexByte(rest, ']') {
			host, port = rest[:i], rest[i+1:]
		}
		rest = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
		if port != "" {
			if err := p.port(port); err != nil {
				return err
			}
		}
	}
	if rest == "" || rest[0] == '-' {
		return refuse("bad host %s", strconv.QuoteToASCII(text))
	}
	p.Host = rest
	return nil
}

// option reads the value of -o: a line of ssh's configuration. Of each name the first counts, but
// of those that add up.
func (p *parser) option(text string) error {
	text = strings.Trim(text, " \t\r\n")
	end := strings.IndexAny(text, " \t=")
	if end <= 0 {
		return refuse("bad option %s: got no value", strconv.QuoteToASCII(text))
	}
	name := strings.ToLower(text[:end])
	value := strings.TrimLeft(text[end:], " \t")
	value = strings.TrimLeft(strings.TrimPrefix(value, "="), " \t")
	if len(value) > 1 && value[0] == '"' && strings.IndexByte(value[1:], '"') == len(value)-2 {
		value = value[1 : len(value)-1]
	}
	if value == "" {
		return refuse("bad option %s: got no value", strconv.QuoteToASCII(text))
	}
	switch name {
	case "forwardagent":
		p.forwardAgent(value)
	case "user":
		p.user(value)
	case "port":
		return p.port(value)
	case "sendenv":
		p.SendEnv = append(p.SendEnv, strings.Fields(value)...)
	case "setenv":
		p.SetEnv = append(p.SetEnv, words(value)...)
	case "localforward", "remoteforward", "dynamicforward":
		kind := name[0] - 'a' + 'A'
		p.Forwards = append(p.Forwards, Forward{kind, strings.Join(strings.Fields(value), ":")})
	default:
		if _, ok := p.options[name]; !ok {
			p.options[name] = value
		}
	}
	return nil
}

// forwardAgent reads the value of ForwardAgent. It decides only if -A, -a or itself hasn't before.
func (p *parser) forwardAgent(value string) {
	said, path := true, ""
	switch strings.ToLower(value) {
	case "yes", "true":
	case "no", "false":
		said = false
	default:
		path = value
	}
	if !p.agent {
		p.Agent, p.agent = said, true
	}
	if p.ForwardAgent == "" {
		p.ForwardAgent = path
	}
}

// words are those of a value, of which some are in quotes.
func words(value string) []string {
	var all []string
	var word strings.Builder
	quoted, any := false, false
	for _, r := range value + " " {
		switch {
		case r == '"':
			quoted, any = !quoted, true
		case (r == ' ' || r == '\t') && !quoted:
			if any || word.Len() > 0 {
				all = append(all, word.String())
			}
			word.Reset()
			any = false
		default:
			word.WriteRune(r)
		}
	}
	return all
}

// settle makes of options what their flags would.
func (p *parser) settle(command bool) error {
	is := func(name, value string) bool { return strings.EqualFold(p.options[name], value) }
	if p.Terminal == TerminalAuto {
		p.Terminal = map[string]Terminal{"no": TerminalNever, "yes": TerminalAsk,
			"force": TerminalForce}[strings.ToLower(p.options["requesttty"])]
	}
	p.NoStdin = p.NoStdin || is("stdinnull", "yes")
	p.NoCommand = p.NoCommand || is("sessiontype", "none")
	p.Subsystem = p.Subsystem || is("sessiontype", "subsystem")
	if is("forkafterauthentication", "yes") {
		p.Behind, p.NoStdin = true, true
	}
	p.IdentityAgent = p.options["identityagent"]
	if p.Escape == "" {
		p.Escape = p.options["escapechar"]
	}
	if remote := p.options["remotecommand"]; remote != "" && !is("remotecommand", "none") {
		if command {
			return refuse("got a command and RemoteCommand, want one of them")
		}
		p.Command = remote
	}
	if is("clearallforwardings", "yes") {
		p.Forwards = nil
	}
	switch {
	case p.Version || p.Query != "":
		return nil
	case p.Host == "":
		return refuse("got no host")
	case p.Subsystem && p.Command == "":
		return refuse("got -s and no name of a subsystem")
	case p.Behind && p.Stdio != "":
		return refuse("got -f and -W, want one of them")
	case p.Behind && p.Command == "" && !p.NoCommand && p.Control == "" && !p.Config:
		return refuse("got -f and neither a command nor -N")
	case p.Terminal == TerminalAuto && p.Command != "":
		p.Terminal = TerminalNever
	}
	return nil
}

// AgentPath returns the path of the socket of the agent that is to be forwarded; "": none is, or
// the variable that names it isn't set. getenv is as os.Getenv.
func (a *Args) AgentPath(getenv func(string) string) (string, error) {
	const usual = "SSH_AUTH_SOCK"
	switch {
	case !a.Agent:
		return "", nil
	case a.ForwardAgent != "":
		return expand("ForwardAgent", a.ForwardAgent, getenv)
	case a.IdentityAgent == "" || a.IdentityAgent == usual:
		return getenv(usual), nil
	case strings.EqualFold(a.IdentityAgent, "none"):
		return "", nil
	}
	return expand("IdentityAgent", a.IdentityAgent, getenv)
}

// expand makes a path of the value of an option: $NAME alone may stand for none; ${NAME}, ~/ and %d
// (home) are parts of one.
func expand(option, text string, getenv func(string) string) (string, error) {
	if name, ok := strings.CutPrefix(text, "$"); ok && !strings.HasPrefix(name, "{") {
		if !isVariable(name) {
			return "", refuse("%s: bad variable %s", option, strconv.QuoteToASCII(text))
		}
		return getenv(name), nil
	}
	if rest, ok := strings.CutPrefix(text, "~/"); ok {
		text = "%d/" + rest
	}
	var path strings.Builder
	for text != "" {
		name, rest, ok := strings.Cut(strings.TrimPrefix(text, "${"), "}")
		switch {
		case strings.HasPrefix(text, "${"):
			if !ok || !isVariable(name) || getenv(name) == "" {
				return "", refuse("%s: no variable %s", option, strconv.QuoteToASCII(name))
			}
			path.WriteString(getenv(name))
			text = rest
			continue
		case strings.HasPrefix(text, "%d"):
			path.WriteString(getenv("HOME"))
		case strings.HasPrefix(text, "%%"):
			path.WriteByte('%')
		case text[0] == '%':
			return "", refuse("%s: of %% only %%d and %%%% are read: %s", option, strconv.QuoteToASCII(text))
		default:
			path.WriteByte(text[0])
			text = text[1:]
			continue
		}
		text = text[2:]
	}
	return path.String(), nil
}

// isVariable tells whether a variable can be called name.
func isVariable(name string) bool {
	for _, r := range name {
		if r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') {
			return false
		}
	}
	return name != ""
}

// NoEscape is no escape character.
const NoEscape = 0xffffffff

// EscapeCharacter reads -e: a character, ^ and a letter for a control character, or none. Without
// it, the escape character is ~.
func (a *Args) EscapeCharacter() (uint32, error) {
	switch e := a.Escape; {
	case e == "":
		return '~', nil
	case strings.EqualFold(e, "none"):
		return NoEscape, nil
	case len(e) == 1:
		return uint32(e[0]), nil
	case len(e) == 2 && e[0] == '^' && e[1] >= '@' && e[1] < 128:
		return uint32(e[1] & 31), nil
	}
	return 0, refuse("bad escape character %s", strconv.QuoteToASCII(a.Escape))
}

// Environment returns what SendEnv and SetEnv make of environ, as NAME=VALUE.
func (a *Args) Environment(environ []string) []string {
	var out []string
	for _, pair := range environ {
		name, _, _ := strings.Cut(pair, "=")
		if slices.ContainsFunc(a.SendEnv, func(pattern string) bool { return matches(pattern, name) }) {
			out = append(out, pair)
		}
	}
	return append(out, a.SetEnv...)
}

// matches tells whether a name fits a pattern with * and ?.
func matches(pattern, name string) bool {
	star, from := -1, 0 // the last * of pattern, and where in name it may end
	p, n := 0, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, n
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[n]):
			p++
			n++
		case star >= 0:
			from++
			p, n = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
