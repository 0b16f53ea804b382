package methods

import (
	"fmt"
	"slices"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/secret"
)

// ForHop returns those of options o that one hop of a target has, with that hop's passwords only.
// before names the hops on the way to the target, joined by +; "": there are none.
//
//   - Of Passwords, the entry that names most hops counts.
//   - The password of ssh is for the last host.
//   - The password of a console is for the first hop.
//   - The passwords of sudo, su and doas are for the last machine of the target that has such hops.
func ForHop(o connect.Options, before string, hops []Hop, i int) (connect.Options, error) {
	if !lastOfMethod(hops, i) {
		o.SSH.Password = ""
	}
	if !lastBecoming(hops, i) {
		o.Sudo.Password, o.Su.Password, o.Doas.Password = "", "", ""
	}
	path := before
	for _, h := range hops[:i+1] {
		path += "+" + h.String()
	}
	own, found, err := named(o, path)
	if err != nil {
		return o, err
	}
	o.Passwords = ""
	if !found {
		return o, nil
	}
	into := password(&o, hops[i].Method)
	if into == nil {
		return o, fmt.Errorf("a password for hop %s, which asks for none", hops[i])
	}
	*into = own
	return o, nil
}

// lastOfMethod tells whether no ssh comes behind hop i.
func lastOfMethod(hops []Hop, i int) bool {
	return !slices.ContainsFunc(hops[i+1:], func(h Hop) bool { return h.Method == "ssh" })
}

// lastBecoming tells whether hop i is on the last machine that has a hop of sudo, su or doas.
func lastBecoming(hops []Hop, i int) bool {
	another := false
	for _, h := range hops[i+1:] {
		another = another || h.Method == "ssh"
		if another && becomes(h) {
			return false
		}
	}
	return true
}

// becomes tells whether a hop enters another account of the same machine, by a password.
func becomes(h Hop) bool { return h.Method == "sudo" || h.Method == "su" || h.Method == "doas" }

// Becomes tells whether a target has a hop of sudo, su or doas.
func Becomes(target string) bool {
	hops, err := ParseTarget(target)
	return err == nil && slices.ContainsFunc(hops, becomes)
}

// named returns the entry of Passwords that names most of the last hops of a path.
func named(o connect.Options, path string) (s secret.Secret, found bool, err error) {
	longest := 0
	for name, value := range o.Passwords.All() {
		name, err := PasswordName(name)
		if err != nil {
			return "", false, err
		}
		if n := endsWith(path, name); n > longest {
			s, found, longest = value, true, n
		}
	}
	return s, found, nil
}

// endsWith returns how many hops name has, if these are the last ones of path; else 0.
func endsWith(path, name string) int {
	all, last := splitHops(path), splitHops(name)
	if len(last) > len(all) || !slices.Equal(all[len(all)-len(last):], last) {
		return 0
	}
	return len(last)
}

// PasswordName returns the name of an entry of Options.Passwords as it is compared: "ssh:web1" is
// web1.
func PasswordName(name string) (string, error) {
	hops, err := ParseTarget(name)
	if err != nil {
		return "", fmt.Errorf("password for %q: %w", name, err)
	}
	if last := hops[len(hops)-1]; password(&connect.Options{}, last.Method) == nil {
		return "", fmt.Errorf("password for %q: %s asks for none", name, last)
	}
	return FormatTarget(hops)
}

// password returns the field for the password of a method; nil: it has none.
func password(o *connect.Options, method string) *secret.Secret {
	switch method {
	case "ssh":
		return &o.SSH.Password
	case "sudo":
		return &o.Sudo.Password
	case "su":
		return &o.Su.Password
	case "doas":
		return &o.Doas.Password
	case "serial", "console", "ipmi":
		return &o.Console.Password
	}
	return nil
}
