package methods

import (
	"slices"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/connect"
)

// hostileFields are values of a user's or a place's name that mean more than a name somewhere: to
// the grammar of targets, to a program's options, to a shell, to a terminal.
var hostileFields = []string{
	"a+local", `a\+local`, "a+exec:sh", "+", `x\`, "a:22", ":22", "a@b", "@", "a@", "root@app", "-x",
	"--privileged", "-oProxyCommand=touch", "-", "--",
	"-u", "a b", " a", "a ", "a\tb", "a\nb", "a\r", "a\x00b", "\x1b[2J", "a\u0085b", "a\u009b2Jb",
	"a\u202eb", "a\u2028b", "a\u200bb", "a\xff", "",
	"$(id)", "`id`", "a;id", "a|id", "a&id", "a>x", "a<x", "a'b", `a"b`, "{a,b}", "*", "?",
	"../../etc", "/etc/passwd", "a/../b", "[::1]", "::1%eth0",
	"[x", "%h", "%n", "#-1", "~", "!x", "local", "sudo", "exec:sh -c id", "docker:x", "ssh:a",
}

// Whatever stands in a hop's fields, fields are data. Its plan is an error, or a plan with the same
// words as for a harmless value, of which none became an option.
func TestFieldsStayFields(t *testing.T) {
	for _, method := range Methods() {
		if method == "exec" || method == "local" || method == "fork" {
			continue // exec's field is a command line; local and fork have none
		}
		for _, field := range []string{"user", "host"} {
			harmless := hopWith(method, field,
				or(map[string]string{"chroot": "/abc", "nspawn": "/abc", "serial": "/abc",
					"setns": "12"}[method], "abc"))
			plain, err := harmless.Plan([]string{"boot"}, connect.Options{}, true)
			if err != nil && field == "host" && slices.Contains([]string{"sudo", "su", "doas"}, method) {
				continue // they have no host
			}
			if err != nil {
				// some know numbers only
				plain, err = hopWith(method, field, "7").Plan([]string{"boot"}, connect.Options{}, true)
			}
			if err != nil {
				if field == "user" && (method == "setns" || method == "machinectl") {
					continue
				}
				t.Fatalf("method %s, field %s: got error %v, want none", method, field, err)
			}
			for _, value := range hostileFields {
				h := hopWith(method, field, value)
				p, err := h.Plan([]string{"boot"}, connect.Options{}, true)
				if err != nil {
					if strings.ContainsAny(err.Error(), "\n\x1b\u009b\u202e\u2028") {
						t.Errorf("%s, %s %q: error %q isn't one clean line", method, field, value, err)
					}
					continue
				}
				if value != "" && len(p.Argv) != len(plain.Argv) && !strings.HasPrefix(method, "kubectl") {
					t.Errorf("%s, %s %q: %q, for a harmless value %q", method, field, value, p.Argv, plain.Argv)
				}
				words := p.Argv
				if p.Line != nil {
					words = append(slices.Clone(words), p.Line.Program...)
				}
				for _, word := range words {
					if strings.HasPrefix(value, "-") && word == value {
						t.Errorf("%s, %s %q became an option: %q", method, field, value, p.Argv)
					}
				}
				text, err := FormatTarget([]Hop{h})
				if again, _ := ParseTarget(text); err != nil || len(again) != 1 || again[0] != h {
					t.Errorf("%s, %s %q: the plan is of %+v, which reads as %+v, %v", method, field, value, h,
						again, err)
				}
			}
		}
	}
}

// hopWith returns a hop of a method with a value in one field, and something usual in the other;
// "": abc.
func hopWith(method, field, value string) Hop {
	h := Hop{Method: method, Host: map[string]string{"chroot": "/srv", "nspawn": "/srv",
		"serial": "/srv", "setns": "1", "machinectl": ".host"}[method]}
	if h.Host == "" && !slices.Contains([]string{"sudo", "su", "doas"}, method) {
		h.Host = "app"
	}
	if field == "user" {
		h.User = value
	} else {
		h.Host = value
	}
	return h
}
