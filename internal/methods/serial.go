package methods

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/mitogen-go/mitogen/connect"
)

// A Line says how the console of a machine is reached, and who logs in there.
type Line struct {
	Device  string   // a terminal of this machine; "": it is none
	Socket  string   // the path of a UNIX socket; "": it is none
	Address string   // HOST:PORT of a TCP socket, raw or telnet; "": it is none
	Program []string // its terminal is the console; nil: there is none
	Leave   string   // typed to Program at the end, so that it lets go of the console
	Baud    int      // bits a second, 10 for a byte; 0: not known
	User    string   // logs in, if no session is there
}

// Opens says what is opened, as words.
func (l *Line) Opens() []string {
	if l.Program != nil {
		return l.Program
	}
	words := []string{"open", l.Device + l.Socket + l.Address}
	if l.Baud > 0 {
		words = append(words, fmt.Sprintf("at %d baud", l.Baud))
	}
	return append(words, "and log in as "+l.User)
}

// IsConsole tells whether a hop is a console.
func (h Hop) IsConsole() bool {
	return h.Method == "serial" || h.Method == "console" || h.Method == "ipmi"
}

// DefaultBaud is the speed of a serial device whose hop names none.
const DefaultBaud = 115200

// What the first bytes of a boot take on a slow line, and the login before it.
const (
	lineBytes   = 48 << 10 // a serial line's, most of them for modules
	lineTimeout = 60 * time.Second
)

// timeout is the default for a connect: a login that is refused, and a slow line, take their time.
func (l *Line) timeout() time.Duration {
	d := lineTimeout
	if l.Baud > 0 {
		d += lineBytes * 10 * time.Second / time.Duration(l.Baud)
	}
	return d
}

// usualBaud is the speed from which on timeouts are those of a network, in bits a second.
const usualBaud = 38400

// Slowness returns the factor of timeouts of silence on the line, which may be nil.
func (l *Line) Slowness() time.Duration {
	if l == nil || l.Baud <= 0 {
		return 1
	}
	return time.Duration(max(1, (usualBaud+l.Baud-1)/l.Baud))
}

// serial is a terminal device of this machine; console a socket, or what the program of conserver
// leads to; ipmi a machine's console by its management controller.
var (
	serialMethod  = console("serial", "device", checkDevice, lineOfDevice)
	consoleMethod = console("console", "socket or name", checkConsole, lineOfConsole)
	ipmiMethod    = console("ipmi", "host", checkWord, lineOfIPMI)
)

// console makes a method of the form "name:[user@]place[,baud]". The baud is the hop's port.
func console(name, what string, place func(what, s string) error, line func(h Hop,
	o connect.ProgramOptions) Line) method {
	return method{
		parse: func(args string, given bool) (Hop, error) {
			if !given || args == "" {
				return Hop{}, fmt.Errorf("%q needs a %s: %s:[user@]%s[,baud]", name, what, name,
					what)
			}
			h := Hop{Method: name, Host: args}
			if at := strings.LastIndexByte(args, '@'); at >= 0 && !strings.HasPrefix(args, "/") {
				h.User, h.Host = args[:at], args[at+1:]
				if err := checkUser("user", h.User); err != nil {
					return Hop{}, fmt.Errorf("%s: %w", name, err)
				}
			}
			if before, text, cut := cutLast(h.Host, ","); cut {
				baud, err := strconv.Atoi(text)
				if err != nil || baud < 50 || baud > 4_000_000 || text != strconv.Itoa(baud) {
					return Hop{}, fmt.Errorf("%s: bad baud %q, want 50 to 4000000", name, text)
				}
				h.Host, h.Port = before, baud
			}
			if err := place(what, h.Host); err != nil {
				return Hop{}, fmt.Errorf("%s: %w", name, err)
			}
			return h, nil
		},
		format: func(h Hop) string {
			if h.Port == 0 {
				return formatInside(h)
			}
			return formatInside(h) + "," + strconv.Itoa(h.Port)
		},
		plan: func(h Hop, boot []string, opt connect.Options, here bool) (Plan, error) {
			if h.Host == "" {
				return Plan{}, fmt.Errorf("no %s", what)
			}
			if !here {
				return Plan{},
					errNotFirst
			}
			l := line(h, opt.Programs[name])
			l.Baud, l.User = or(h.Port, l.Baud), or(h.User, "root")
			return Plan{
				Argv: boot, Line: &l,
				Prompts: []Prompt{{[]byte("password:"), opt.Console.Password.Bytes()}},
			}, nil
		},
		hints:  consoleHints,
		wrong:  connect.ErrAuth,
		remote: true,
	}
}

// HasBaud tells whether a comma in a list of targets, which stands between before and rest,
// belongs to
// a console that ends in its speed.
func HasBaud(before, rest string) bool {
	hops := splitHops(strings.TrimSpace(before))
	method, _, given := strings.Cut(hops[len(hops)-1], ":")
	if !given || !(Hop{Method: method}).IsConsole() {
		return false
	}
	digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
	return digits > 0 && (digits == len(rest) || rest[digits] == ',' || rest[digits] == '+')
}

var errNotFirst = errors.New(
	"a console can only be the first hop: it is opened on the machine where mitogen runs")

func cutLast(s, sep string) (before, after string, found bool) {
	if at := strings.LastIndex(s, sep); at >= 0 {
		return s[:at], s[at+len(sep):], true
	}
	return s, "", false
}

func checkDevice(what, s string) error {
	if !strings.HasPrefix(s, "/") {
		return fmt.Errorf("%s %q is no absolute path", what, s)
	}
	return checkPath(what, s)
}

// checkConsole is for a path, HOST:PORT, or a name that conserver knows.
func checkConsole(what, s string) error {
	if strings.HasPrefix(s, "/") {
		return checkPath(what, s)
	}
	host, port, isAddress := cutLast(s, ":")
	if !isAddress {
		return checkWord(what, s)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 || port != strconv.Itoa(n) {
		return fmt.Errorf("bad port %q", port)
	}
	if inner, bracketed := strings.CutPrefix(host, "["); bracketed {
		host = strings.TrimSuffix(strings.ReplaceAll(inner, ":", ""), "]") // an IPv6 address
	}
	return checkWord(what, host)
}

func lineOfDevice(h Hop, _ connect.ProgramOptions) Line {
	return Line{Device: h.Host, Baud: DefaultBaud}
}

func lineOfConsole(h Hop, o connect.ProgramOptions) Line {
	switch {
	case strings.HasPrefix(h.Host, "/"):
		return Line{Socket: h.Host}
	case strings.Contains(h.Host, ":"):
		return Line{Address: h.Host}
	}
	argv := append([]string{or(o.Path, "console")}, o.Args...)
	return Line{Program: append(argv, h.Host), Leave: "\x05c."}
}

// lineOfIPMI is Serial-over-LAN. User and password of the controller are arguments of the
// program's,
// which has ways to read a password from a file or the environment.
func lineOfIPMI(h Hop, o connect.ProgramOptions) Line {
	argv := append([]string{or(o.Path, "ipmitool"), "-I", "lanplus", "-H", h.Host}, o.Args...)
	return Line{Program: append(argv, "sol", "activate"), Leave: "\r~."}
}

// consoleHints are for errors of a console.
var consoleHints = hints{
	connect.ErrStart: {phase: connect.PhaseStart,
		hint: "check the permissions of the device or socket (group dialout), or install the program"},
	connect.ErrBusy: {
		phase: connect.PhaseStart,
		hint: "another program holds the console: end it, or wait; a session of IPMI that was left " +
			"behind is ended by ipmitool … sol deactivate, which throws out whoever uses it",
	},
	connect.ErrNotFound: {phase: connect.PhaseStart, hint: "check the name of the device or socket"},
	connect.ErrRefused: {phase: connect.PhaseStart,
		hint: "check that the console server listens there"},
	connect.ErrAuth: {phase: connect.PhaseLogin,
		hint: "give the right user (USER@…) and password (--password-of HOP=ask), typed once"},
	connect.ErrPasswordRequired: {phase: connect.PhaseLogin,
		hint: "give the password with --password-of HOP=ask"},
	connect.ErrTimeout: {phase: connect.PhaseLogin,
		hint: "nothing answers: check cable, speed (…,BAUD), and that a getty runs there"},
	connect.ErrNoLogin: {phase: connect.PhaseLogin,
		hint: "what answers is neither a login nor a shell: look at the console by hand"},
	connect.ErrNotPermitted: {phase: connect.PhaseLogin, hint: "see what the machine says"},
	connect.ErrForeign: {phase: connect.PhasePython,
		hint: "the line damages too much: try a lower speed, or another cable"},
	connect.ErrDisconnected: {phase: connect.PhaseLogin,
		hint: "the console server, or the program that leads there, has closed the console"},
	connect.ErrDied: {phase: connect.PhasePython, hint: "look at the console by hand"},
}
