package inventory

import (
	"slices"
	"strings"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/lazyregexp"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/secret"
)

// sshOptions reads what ssh is told. ssh takes the first value of an option, so the order is
// Ansible's: ssh_args, then what has a variable of its own, then common and extra arguments.
func (r *reader) sshOptions(o *connect.Options) {
	const plugin = "ssh"
	ssh := &o.SSH
	ssh.Path = r.text(plugin, "ssh_executable")
	ssh.FirstArgs = r.words(plugin, "ssh_args")
	r.hostKeys(plugin, ssh)
	r.identity(plugin, ssh)
	ssh.Args = append(r.words(plugin, "ssh_common_args"), r.words(plugin, "ssh_extra_args")...)
	for _, option := range []string{"ssh_args", "ssh_common_args", "ssh_extra_args"} {
		if slices.ContainsFunc(r.words(plugin, option), namesProxy.MatchString) {
			r.proxy = r.place(r.given(plugin, option).name)
		}
	}
	ssh.Password = r.password(plugin)
	ssh.Passphrase = secret.Secret(r.text(plugin, "private_key_passphrase"))
	r.timeout(plugin, o)
}

// Arguments of ssh that name another host on the way, and a user. They stand as flags, behind other
// flags that stand alone, or as options.
var (
	namesProxy = lazyregexp.New(`^-[46AaCfGgKkMNnqsTtVvXxYy]*J|(?i:^(-o)?\s*proxy(jump|command)\b)`)
	namesUser  = lazyregexp.New(`^-[46AaCfGgKkMNnqsTtVvXxYy]*l|(?i:^(-o)?\s*user\b)`)
)

// hostKeys has ssh take any key of an unknown host. A known host's changed key is still seen.
func (r *reader) hostKeys(plugin string, ssh *connect.SSHOptions) {
	if checked, set := r.flag(plugin, "host_key_checking"); set && !checked {
		ssh.FirstArgs = append(ssh.FirstArgs, "-o", "StrictHostKeyChecking=no")
	}
}

// identity adds a key to those that ssh offers.
func (r *reader) identity(plugin string, ssh *connect.SSHOptions) {
	s := r.given(plugin, "private_key_file")
	file := r.asText(s.name, s.value)
	if strings.ContainsAny(file, "\"\n\r\x00") {
		r.fail(s.name, "%q can't be told to ssh", file)
	}
	ssh.IdentityFile, ssh.OtherKeys = file, file != ""
}

// password is typed where ssh asks for one, which isn't the question of another device.
func (r *reader) password(plugin string) secret.Secret {
	password := secret.Secret(r.text(plugin, "password"))
	if password == "" { // what Ansible falls back to
		for _, name := range []string{"ansible_password", "ansible_ssh_pass"} {
			if s := r.last([]string{name}); s.value != nil {
				password = secret.Secret(r.asText(s.name, s.value))
			}
		}
	}
	if plugin != "ssh" || password == "" {
		return password
	}
	if s := r.given("ssh", "sshpass_prompt"); !isEmpty(s.value) {
		r.fail(s.name, "can't be used here: the password is given to ssh's own question only")
	}
	s := r.given("ssh", "password_mechanism")
	switch mechanism := r.asText(s.name, s.value); mechanism {
	case "", "ssh_askpass", "sshpass":
	default:
		r.fail(s.name, "%q can't be used here: it keeps the password from ssh", mechanism)
	}
	return password
}

// timeout bounds how long the network is waited for, and what follows by as much as usual.
func (r *reader) timeout(plugin string, o *connect.Options) {
	seconds := max(r.number("any", "timeout", "timeout", 0, 86400), 0)
	if s := r.given(plugin, "timeout"); s.value != nil {
		seconds = r.number(plugin, "timeout", "timeout", 0, 86400)
	}
	if seconds == 0 {
		return
	}
	o.SSH.ConnectTimeout = time.Duration(seconds) * time.Second
	if o.SSH.ConnectTimeout > connect.DefaultTimeout {
		o.Timeout = o.SSH.ConnectTimeout + connect.DefaultTimeout
	}
}

// paramiko reads no configuration of ssh, and takes nothing of ssh's arguments but a ProxyCommand.
func (r *reader) paramiko(o *connect.Options) []methods.Hop {
	const plugin = "paramiko_ssh"
	ssh := &o.SSH
	ssh.FirstArgs = []string{"-F", "none"}
	if proxy := r.text(plugin, "proxy_command"); proxy != "" {
		ssh.FirstArgs = append(ssh.FirstArgs, "-o", "ProxyCommand="+proxy)
		r.proxy = r.place(r.given(plugin, "proxy_command").name)
	}
	for _, option := range []string{"ssh_args", "ssh_common_args", "ssh_extra_args"} {
		s := r.given(plugin, option)
		if strings.Contains(strings.ToLower(r.asText(s.name, s.value)), "proxy") {
			r.fail(s.name, "can't be used here with paramiko: the variable for a proxy is "+
				"ansible_paramiko_proxy_command, or ansible_connection is ssh")
		}
	}
	r.hostKeys(plugin, ssh)
	r.identity(plugin, ssh)
	ssh.Password = r.password(plugin)
	r.timeout(plugin, o)
	return r.login(plugin, "remote_addr", o)
}
