package connect

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ssh logs in with the OpenSSH client, so that the user's configuration, agent and host key policy hold.
var sshMethod = method{
	parse:    parseSSH,
	format:   formatSSH,
	plan:     planSSH,
	symptoms: sshSymptoms,
	status:   255,       // any other is the remote command's, and so is the text
	silent:   ErrClosed, // some ends of the connection are news below LogLevel ERROR
}

func parseSSH(args string, given bool) (Hop, error) {
	if !given || args == "" {
		return Hop{}, fmt.Errorf(`"ssh" needs a host: ssh:[user@]host[:port]`)
	}
	return parseAddress(args)
}

// parseAddress reads "[user@]host[:port]".
func parseAddress(text string) (Hop, error) {
	h := Hop{Method: "ssh"}
	host := text
	if i := strings.LastIndexByte(text, '@'); i >= 0 { // users of a domain have an @ in their name
		h.User, host = text[:i], text[i+1:]
		if err := checkWord("user", h.User); err != nil {
			return Hop{}, fmt.Errorf("hop %q: %w", text, err)
		}
	}
	host, port, err := splitPort(host, h.User == "")
	if err != nil {
		return Hop{}, fmt.Errorf("hop %q: %w", text, err)
	}
	h.Host, h.Port = host, port
	return h, nil
}

// splitPort reads "host[:port]" and "[v6][:port]". first says that the host could have been meant as a method.
func splitPort(text string, first bool) (host string, port int, err error) {
	rest := ""
	if inner, ok := strings.CutPrefix(text, "["); ok {
		if host, rest, ok = strings.Cut(inner, "]"); !ok {
			return "", 0, fmt.Errorf("no ] after [")
		}
		if a, err := netip.ParseAddr(host); err != nil || !a.Is6() {
			return "", 0, fmt.Errorf("%q is no IPv6 address", host)
		}
		if rest != "" && rest[0] != ':' {
			return "", 0, fmt.Errorf("unexpected %q after ]", rest)
		}
	} else {
		if strings.Count(text, ":") > 1 {
			return "", 0, fmt.Errorf("too many colons (an IPv6 address stands in brackets)")
		}
		if i := strings.IndexByte(text, ':'); i >= 0 {
			host, rest = text[:i], text[i:]
		} else {
			host = text
		}
	}
	if err := checkWord("host", host); err != nil {
		return "", 0, err
	}
	if rest == "" {
		return host, 0, nil
	}
	port, err = strconv.Atoi(rest[1:])
	if err != nil && first && rest != ":" && text[0] != '[' {
		return "", 0, fmt.Errorf("unknown method %q, and %q is no port (methods: %s)",
			host, rest[1:], strings.Join(Methods(), ", "))
	}
	if err != nil || port < 1 || port > 65535 || rest[1] == '+' {
		return "", 0, fmt.Errorf("bad port %q", rest[1:])
	}
	return host, port, nil
}

// checkWord refuses what a program could take for an option, or a shell for more than a word: ssh hands names to the
// ProxyCommand and Match exec lines of the user's configuration. Users of a Windows domain have a backslash.
func checkWord(what, s string) error {
	if s == "" {
		return fmt.Errorf("empty %s", what)
	}
	bad := strings.IndexFunc(s, func(r rune) bool {
		return r == ' ' || !unicode.IsPrint(r) || r == utf8.RuneError || strings.ContainsRune("'`\"$;&<>|(){}*?/", r) || r == '\\' && what != "user"
	})
	if bad >= 0 || s[0] == '-' {
		return fmt.Errorf("bad %s %q", what, s)
	}
	return nil
}

func formatSSH(h Hop) string {
	var b strings.Builder
	if _, clash := methods[h.Host]; clash && h.User == "" {
		b.WriteString("ssh:")
	}
	if h.User != "" {
		b.WriteString(h.User + "@")
	}
	if strings.Contains(h.Host, ":") {
		b.WriteString("[" + h.Host + "]")
	} else {
		b.WriteString(h.Host)
	}
	if h.Port != 0 {
		b.WriteString(":" + strconv.Itoa(h.Port))
	}
	return b.String()
}

// yesNo is in the question about a host's key.
const yesNo = "(yes/no"

// planSSH: stdio are pipes. Here questions come through askpass; in a hop, ssh gets a terminal to ask on. Both hold for the ssh of
// jump hosts too, which these options don't reach.
func planSSH(h Hop, boot []string, opt Options, here bool) (Plan, error) {
	if h.Host == "" {
		return Plan{}, fmt.Errorf("no host")
	}
	o := opt.SSH
	first, attempts := o.FirstArgs, attemptArgs(o, opt)
	if len(first) > 0 { // which must not have a say in attempts
		first, attempts = slices.Concat(attempts, first), nil
	}
	args, err := sshArgs(h, opt, first)
	if err != nil {
		return Plan{}, err
	}
	p := Plan{Ask: AskPass}
	if !here {
		p.Ask, p.TTY, p.Talk = AskNone, true, TalkQuestions
	}
	args = append(args, attempts...)
	args = append(args, o.Args...)
	if o.Compression == nil { // last, so that Args can say otherwise
		args = append(args, "-o", "Compression=yes")
	}
	p.Argv = append(args, "--", h.Host, QuoteCommand(boot))
	return p, nil
}

// attemptArgs bounds what ssh tries with passwords: once with one that is given, never without one, unless a person can be asked. They
// stand before all that a user can say, so that they hold.
func attemptArgs(o SSHOptions, opt Options) []string {
	once, never := []string{"-o", "NumberOfPasswordPrompts=1"}, []string{"-o", "PasswordAuthentication=no", "-o", "KbdInteractiveAuthentication=no"}
	switch {
	case o.Password != "" || opt.Sourced: // another answer than the first would be a second attempt
		return append([]string{"-o", "BatchMode=no"}, once...)
	case opt.Interactive:
		return nil
	case o.Passphrase != "":
		return append(append([]string{"-o", "BatchMode=no"}, once...), never...)
	}
	return append(append([]string{"-o", "BatchMode=yes"}, once...), never...)
}

// ControlCheck is what asks whether a master of the user's exists for an ssh with the plan's argv.
func ControlCheck(argv []string) []string {
	options, host := argv[:len(argv)-3], argv[len(argv)-2]
	return append(slices.Clone(options), "-O", "check", "--", host)
}

// ControlMaster is argv, a plan's, for an ssh that is a master at path while it runs, and no longer.
func ControlMaster(argv []string, path string) []string {
	argv = slices.Clone(argv)
	argv[slices.Index(argv, noMaster)] = "ControlMaster=yes"
	return slices.Insert(argv, len(argv)-3, "-o", "ControlPersist=no", "-S", path) // -S goes before ControlPath, the last before others
}

// ControlClient is argv, a plan's, for an ssh that uses the master at path, or, if that won't, a connection of its own.
func ControlClient(argv []string, path string) []string {
	return slices.Insert(slices.Clone(argv), len(argv)-3, "-S", path)
}

const noMaster = "ControlMaster=no"

// sshArgs makes the command without what depends on where it is carried out. first go before user, port and key.
func sshArgs(h Hop, opt Options, first []string) ([]string, error) {
	o := opt.SSH
	args := []string{"ssh", "-T"}
	if o.Path != "" {
		args[0] = o.Path
	}
	option := func(name, value string) { args = append(args, "-o", name+"="+value) }
	if o.ConfigFile != "" {
		args = append(args, "-F", o.ConfigFile)
	}
	option("LogLevel", "ERROR") // no banners
	// Another connection's master may be used, but ours must not stay behind as one.
	args = append(args, "-o", noMaster)
	option("ForwardX11", "no")
	option("ClearAllForwardings", "yes")
	args = append(args, first...)
	if t := or(o.ConnectTimeout, opt.timeout()); t > 0 {
		option("ConnectTimeout", strconv.Itoa(wholeSeconds(t)))
	}
	if user := or(h.User, o.User); user != "" {
		args = append(args, "-l", user)
	}
	if port := or(h.Port, o.Port); port != 0 {
		args = append(args, "-p", strconv.Itoa(port))
	}
	if o.IdentityFile != "" && o.OtherKeys {
		option("IdentityFile", `"`+o.IdentityFile+`"`)
	} else if o.IdentityFile != "" {
		args = append(args, "-i", o.IdentityFile)
		option("IdentitiesOnly", "yes")
	}
	if o.Compression != nil {
		option("Compression", map[bool]string{true: "yes", false: "no"}[*o.Compression])
	}
	if o.KeepAliveInterval > 0 {
		option("ServerAliveInterval", strconv.Itoa(wholeSeconds(o.KeepAliveInterval)))
	}
	if o.KeepAliveCount > 0 {
		option("ServerAliveCountMax", strconv.Itoa(o.KeepAliveCount))
	}
	policy, ok := hostKeyArgs[o.HostKeys]
	if !ok {
		return nil, fmt.Errorf("unknown host key policy %q", o.HostKeys)
	}
	return append(args, policy...), nil
}

var hostKeyArgs = map[HostKeys][]string{
	HostKeysDefault:   nil,
	HostKeysAcceptNew: {"-o", "StrictHostKeyChecking=accept-new"},
	HostKeysStrict:    {"-o", "StrictHostKeyChecking=yes"},
	// With a known key that has changed, ssh would go on without passwords: so let it know none.
	HostKeysOff: {"-o", "StrictHostKeyChecking=no",
		"-o", "UserKnownHostsFile=/dev/null", "-o", "GlobalKnownHostsFile=/dev/null"},
}

func or[T comparable](a, b T) T {
	var zero T
	if a != zero {
		return a
	}
	return b
}
