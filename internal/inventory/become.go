package inventory

import (
	"strings"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/lazyregexp"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/secret"
)

// A become is a way into another account.
type become struct {
	plugin string
	hop    func(r *reader, o *connect.Options) methods.Hop
}

// becomes are the methods, by Ansible's short names.
var becomes = map[string]become{
	"sudo": {"sudo", func(r *reader, o *connect.Options) methods.Hop {
		return r.escalate("sudo", r.text("sudo", "become_user"), r.secret("sudo"), o)
	}},
	"su": {"su", func(r *reader, o *connect.Options) methods.Hop {
		return r.escalate("su", r.text("su", "become_user"), r.secret("su"), o)
	}},
	"doas": {"doas", func(r *reader, o *connect.Options) methods.Hop {
		return r.escalate("doas", r.text("doas", "become_user"), r.secret("doas"), o)
	}},
	"machinectl": {"machinectl", (*reader).session},
}

// become returns the host's become method.
func (r *reader) become() become {
	s := r.given("any", "become_method")
	name := r.asText(s.name, s.value)
	if name == "" {
		name = "sudo"
	}
	for _, p := range []string{"ansible.builtin.", "ansible.legacy.", "community.general."} {
		short, of := strings.CutPrefix(name, p)
		if core := short == "sudo" || short == "su"; of && core != (p == "community.general.") {
			name = short
			break
		}
	}
	m, ok := becomes[name]
	if !ok {
		r.fail(s.name, "%q is none that is known here: sudo, su, doas, machinectl", name)
		return becomes["sudo"]
	}
	return m
}

func (r *reader) secret(plugin string) secret.Secret {
	return secret.Secret(r.text(plugin, "become_pass"))
}

// accountOf is a connection that enters another account of the machine before, as Mitogen's
// mitogen_sudo does.
func accountOf(method string) func(r *reader, o *connect.Options) []methods.Hop {
	return func(r *reader, o *connect.Options) []methods.Hop {
		password := secret.Secret(r.text("mitogen", "password"))
		return []methods.Hop{r.escalate(method, r.text("mitogen", "user"), password, o)}
	}
}

// escalate is the hop into an account by sudo, su or doas.
func (r *reader) escalate(method, user string, password secret.Secret,
	o *connect.Options) methods.Hop {
	path := r.program(method, "become_exe")
	h := methods.Hop{Method: method, User: user}
	if _, err := methods.FormatTarget([]methods.Hop{h}); err != nil {
		r.fail(r.given(method, "become_user").name, "%v", err)
	}
	switch method {
	case "sudo":
		r.sudo(o, path, password)
	case "su":
		r.su(o, path, password)
	case "doas":
		r.doas(o, path, password)
	}
	return h
}

// flags sorts a become method's flags.
func (r *reader) flags(plugin string, known map[string]flagUse, take func(flag, value string)) {
	s := r.given(plugin, "become_flags")
	all, err := splitArgs(r.asText(s.name, s.value))
	if err != nil {
		r.fail(s.name, "%v", err)
	}
	for i := 0; i < len(all); i++ {
		for _, flag := range single(all[i], known) {
			name, _, joined := strings.Cut(flag, "=")
			use, ok := known[name]
			switch {
			case !ok || joined && (use == alone || !strings.HasPrefix(name, "--")):
				r.fail(s.name, "%q can't be used here%s", flag, userFlag[name])
			case use == valued && !joined && i+1 == len(all):
				r.fail(s.name, "%q has no value", flag)
			case use == valued && !joined:
				i++
				take(flag, all[i])
			default:
				take(flag, "")
			}
		}
	}
}

// A flagUse says what comes with a flag.
type flagUse int

const (
	alone    flagUse = iota
	valued           // "=value" behind a long one, or the next word
	optional         // "=value", or nothing
)

// userFlag has a remedy for flags that name a user.
var userFlag = map[string]string{
	"-u":     ": the variable for a user is ansible_become_user",
	"--user": ": the variable for a user is ansible_become_user",
}

var cluster = lazyregexp.New(`^-[A-Za-z]{2,}$`)

// single takes "-HSn" apart, if all of its letters stand alone.
func single(word string, known map[string]flagUse) []string {
	if !cluster.MatchString(word) {
		return []string{word}
	}
	var all []string
	for _, letter := range word[1:] {
		flag := "-" + string(letter)
		if use, ok := known[flag]; !ok || use != alone {
			return []string{word}
		}
		all = append(all, flag)
	}
	return all
}

// sudoFlags leaves out those that name a user, ask otherwise, or do something else than run a
// command.
var sudoFlags = map[string]flagUse{
	"-H": alone, "--set-home": alone, "-i": alone, "--login": alone, "-s": alone, "--shell": alone,
	"-E": alone, "--preserve-env": optional,
	"-P": alone, "--preserve-groups": alone, "-k": alone, "--reset-timestamp": alone, "-B": alone,
	"--bell": alone, "-N": alone,
	"--no-update": alone, "-n": alone, "--non-interactive": alone, "-S": alone, "--stdin": alone,
	"-g": valued, "--group": valued, "-C": valued, "--close-from": valued, "-r": valued,
	"--role": valued, "-t": valued,
	"--type": valued, "-T": valued, "--command-timeout": valued,
}

// sudo sets its options. Without flags Ansible's own hold, of which -H changes what is seen there.
func (r *reader) sudo(o *connect.Options, path string, password secret.Secret) {
	o.Sudo.Path, o.Sudo.Password = path, password
	if r.given("sudo", "become_flags").value == nil {
		o.Sudo.SetHome = true
		return
	}
	r.flags("sudo", sudoFlags, func(flag, value string) {
		switch flag {
		case "-H", "--set-home":
			o.Sudo.SetHome = true
		case "-i", "--login":
			o.Sudo.Login = true
		// the password is typed on a terminal, or there is none
		case "-n", "--non-interactive", "-S", "--stdin":
		default:
			o.Sudo.Args = append(append(o.Sudo.Args, flag), unlessEmpty(value)...)
		}
	})
}

var suFlags = map[string]flagUse{
	"-": alone, "-l": alone, "--login": alone, "-m": alone, "-p": alone,
	"--preserve-environment": alone, "-f": alone, "--fast": alone,
	"-s": valued, "--shell": valued, "-g": valued, "--group": valued, "-G": valued,
	"--supp-group": valued,
	"-w":           valued, "--whitelist-environment": valued,
}

func (r *reader) su(o *connect.Options, path string, password secret.Secret) {
	o.Su.Path, o.Su.Password = path, password
	r.flags("su", suFlags, func(flag, value string) {
		if flag == "-" || flag == "-l" || flag == "--login" {
			o.Su.Login = true
			return
		}
		o.Su.Args = append(append(o.Su.Args, flag), unlessEmpty(value)...)
	})
}

var doasFlags = map[string]flagUse{"-n": alone, "-a": valued}

func (r *reader) doas(o *connect.Options, path string, password secret.Secret) {
	o.Doas.Path, o.Doas.Password = path, password
	r.flags("doas", doasFlags, func(flag, value string) {
		o.Doas.Args = append(append(o.Doas.Args, flag), unlessEmpty(value)...)
	})
}

func unlessEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// session is a session of systemd's.
func (r *reader) session(o *connect.Options) methods.Hop {
	if path := r.program("machinectl", "become_exe"); path != "" {
		if _, taken := o.Programs["machinectl"]; taken {
			r.fail(r.given("machinectl", "become_exe").name,
				"the connection has a machinectl of its own already")
		}
		tell(o, "machinectl", connect.ProgramOptions{Path: path})
	}
	h := methods.Hop{Method: "machinectl", User: r.text("machinectl", "become_user"), Host: ".host"}
	r.enter(r.given("machinectl", "become_user").name, h)
	return h
}
