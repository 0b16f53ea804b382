package methods

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mitogen-go/mitogen/connect"
)

// ssh logs in with the OpenSSH client, so that the user's configuration, agent and host key policy
// hold.
var sshMethod = method{
	parse:    parseSSH,
	format:   formatSSH,
	plan:     planSSH,
	symptoms: sshSymptoms,
	late:     sshLateSymptoms,
	session:  sessionSymptoms,
	status:   255, // any other is the remote command's, and so is the text
	silent:   connect.ErrDisconnected,
	hints:    sshHints,
	remote:   true,
}

func parseSSH(args string, given bool) (Hop, error) {
	if !given || args == "" {
		return Hop{}, fmt.Errorf(`"ssh" needs a host: ssh:[user@]host[:port]`)
	}
	if rest, ok := strings.CutPrefix(args, "//"); ok {
		return parseURI(rest)
	}
	return parseAddress(args)
}

// parseURI reads what follows "ssh://", as ssh does: "[user@]host[:port]" with escapes in the user,
// and perhaps a slash behind it.
func parseURI(text string) (Hop, error) {
	text = strings.TrimSuffix(text, "/")
	user, host := "", text
	if i := strings.LastIndexByte(text, '@'); i >= 0 {
		user, host = text[:i], text[i+1:]
	}
	name, err := url.PathUnescape(user)
	switch {
	case err != nil || strings.Contains(user, ";"):
		return Hop{}, fmt.Errorf("ssh://%s: bad user %q", text, user)
	case strings.ContainsAny(host, `/\?#%`) && !strings.HasPrefix(host, "["):
		return Hop{}, fmt.Errorf("ssh://%s: not ssh://[user@]host[:port]", text)
	}
	h, err := parseAddress(host)
	if err != nil {
		return Hop{}, err
	}
	if i := strings.LastIndexByte(text, '@'); i >= 0 {
		if err := checkUser("user", name); err != nil {
			return Hop{}, fmt.Errorf("ssh://%s: %w", text, err)
		}
		h.User = name
	}
	return h, nil
}

// parseAddress reads "[user@]host[:port]".
func parseAddress(text string) (Hop, error) {
	h := Hop{Method: "ssh"}
	host := text
	if i := strings.LastIndexByte(text, '@'); i >= 0 { // users of a domain have an @ in their name
		h.User, host = text[:i], text[i+1:]
		if err := checkUser("user", h.User); err != nil {
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

// splitPort reads "host[:port]" and "[host][:port]"; in brackets the host may have colons. A bare
// IPv6 address has no port. first says that the host could have been meant as a method.
func splitPort(text string, first bool) (host string, port int, err error) {
	host, rest := text, ""
	if inner, ok := strings.CutPrefix(text, "["); ok {
		if host, rest, ok = strings.Cut(inner, "]"); !ok {
			return "", 0, fmt.Errorf("no ] after [")
		}
		if rest != "" && rest[0] != ':' {
			return "", 0, fmt.Errorf("unexpected %q after ]", rest)
		}
	} else if i := strings.IndexByte(text, ':'); i >= 0 && !isIPv6(text) {
		if strings.Count(text, ":") > 1 {
			return "", 0, fmt.Errorf("too many colons (a name with colons stands in brackets)")
		}
		host, rest = text[:i], text[i:]
	}
	if err := checkHost(host); err != nil {
		return "", 0, err
	}
	if rest == "" {
		return host, 0, nil
	}
	port, err = strconv.Atoi(rest[1:])
	if err != nil && first && rest != ":" && text[0] != '[' {
		return "", 0, fmt.Errorf("unknown method %q, and %q is no port; a host of that name is written"+
			" [%s] (methods: %s)", host, rest[1:], text, strings.Join(Methods(), ", "))
	}
	if err != nil || port < 1 || port > 65535 || rest[1] == '+' {
		return "", 0, fmt.Errorf("bad port %q", rest[1:])
	}
	return host, port, nil
}

// isIPv6 tells an IPv6 address, with or without a zone.
func isIPv6(text string) bool {
	a, err := netip.ParseAddr(text)
	return err == nil && a.Is6()
}

// special are characters that mean something in a shell: ssh hands names to the ProxyCommand and
// Match exec lines of the user's configuration. ssh itself refuses most of them.
const special = "'`\"$;&<>|(){}*?"

// checkWord refuses what a program could take for an option, or a shell for more than a word.
func checkWord(what, s string) error { return checkName(what, s, special+`/\ `) }

// checkHost checks a name that ssh is given. It may have slashes, as names in its configuration do.
func checkHost(s string) error { return checkName("host", s, special+`\ []`) }

// checkUser checks the name of an account. Those of a Windows domain have a backslash, a slash or a
// space in it, those of machines a dollar sign at the end. As with ssh, no hyphen may follow a
// space, and no backslash may be the last character.
func checkUser(what, s string) error {
	name := s
	if len(s) > 1 {
		name = strings.TrimSuffix(s, "$")
	}
	if err := checkName(what, name, special); err != nil {
		return err
	}
	outside := strings.TrimSpace(name) != name
	if outside || strings.Contains(name, " -") || strings.HasSuffix(name, `\`) {
		return fmt.Errorf("bad %s %q", what, s)
	}
	return nil
}

// checkName refuses what a program could take for an option, characters that can't be printed, and
// those of bad.
func checkName(what, s, bad string) error {
	if s == "" {
		return fmt.Errorf("empty %s", what)
	}
	at := strings.IndexFunc(s, func(r rune) bool {
		return !unicode.IsPrint(r) || r == utf8.RuneError || strings.ContainsRune(bad, r)
	})
	if at >= 0 || s[0] == '-' {
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
		name, _, colon := strings.Cut(h.User, ":")
		if _, clash := methods[name]; clash && colon {
			b.WriteString("ssh:")
		}
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

// planSSH: stdio are pipes. Here questions come through askpass; in a hop, ssh gets a terminal to
// ask on. Both hold for the ssh of jump hosts too, which these options don't reach.
func planSSH(h Hop, boot []string, opt connect.Options, here bool) (Plan, error) {
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
	if !here { // a hop passes all on that ssh prints while the context runs
		p.Argv = Terse(p.Argv)
	}
	return p, nil
}

// attemptArgs bounds ssh's attempts with passwords. With a given password ssh makes one attempt,
// without one none, unless a person can be asked. The arguments stand before all arguments of the
// user, so that they hold.
func attemptArgs(o connect.SSHOptions, opt connect.Options) []string {
	once, never := []string{"-o", "NumberOfPasswordPrompts=1"}, []string{"-o",
		"PasswordAuthentication=no", "-o", "KbdInteractiveAuthentication=no"}
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

// ControlCheck returns the command that asks whether the user has a master for an ssh with the
// plan's argv.
func ControlCheck(argv []string) []string {
	options, host := argv[:len(argv)-3], argv[len(argv)-2]
	return append(slices.Clone(options), "-O", "check", "--", host)
}

// ControlMaster is argv, a plan's, for an ssh that is a master at path while it
// runs, and no longer.
func ControlMaster(argv []string, path string) []string {
	argv = slices.Clone(argv)
	argv[slices.Index(argv, noMaster)] = "ControlMaster=yes"
	// -S goes before ControlPath, and ControlPath, the last, before all other options
	return slices.Insert(argv, len(argv)-3, "-o", "ControlPersist=no", "-S", path)
}

// ControlClient is argv, a plan's, for an ssh that uses the master at path, or, if that won't, a
// connection of its own.
func ControlClient(argv []string, path string) []string {
	return slices.Insert(slices.Clone(argv), len(argv)-3, "-S", path)
}

const noMaster = "ControlMaster=no"

// WithoutRemoteCommand is argv, a plan's, for a configuration that sets RemoteCommand, beside which
// ssh takes no command. Releases before 7.6 don't know that option.
func WithoutRemoteCommand(argv []string) []string {
	return slices.Insert(slices.Clone(argv), 1, "-o", "RemoteCommand=none")
}

// logLevel has ssh print what the server says, and that the login is done.
const logLevel = "LogLevel=VERBOSE"

// Terse is argv, a plan's, for an ssh that prints nothing of its own once the login is done, but
// what the server says before, and errors.
func Terse(argv []string) []string {
	argv = slices.Clone(argv)
	if i := slices.Index(argv, logLevel); i >= 0 {
		argv[i] = "LogLevel=INFO"
	}
	return argv
}

// sshArgs makes the command without what depends on where it is carried out. first go before
// user, port and key.
func sshArgs(h Hop, opt connect.Options, first []string) ([]string, error) {
	o := opt.SSH
	args := []string{"ssh", "-T"}
	if o.Path != "" {
		args[0] = o.Path
	}
	option := func(name, value string) { args = append(args, "-o", name+"="+value) }
	if o.ConfigFile != "" {
		args = append(args, "-F", o.ConfigFile)
	}
	args = append(args, "-o", logLevel)
	// Another connection's master may be used, but ours must not stay behind as one.
	args = append(args, "-o", noMaster)
	option("ForwardX11", "no")
	option("ClearAllForwardings", "yes")
	args = append(args, first...)
	if t := or(o.ConnectTimeout, timeout(opt)); t > 0 {
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

var hostKeyArgs = map[connect.HostKeys][]string{
	connect.HostKeysDefault:   nil,
	connect.HostKeysAcceptNew: {"-o", "StrictHostKeyChecking=accept-new"},
	connect.HostKeysStrict:    {"-o", "StrictHostKeyChecking=yes"},
	// With a known key that has changed, ssh would go on without passwords: so let it know none.
	connect.HostKeysOff: {"-o", "StrictHostKeyChecking=no",
		"-o", "UserKnownHostsFile=/dev/null", "-o", "GlobalKnownHostsFile=/dev/null"},
}

func or[T comparable](a, b T) T {
	var zero T
	if a != zero {
		return a
	}
	return b
}
