package methods

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseTarget(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want []Hop
	}{
		{"local", []Hop{{Method: "local"}}},
		{"web1", []Hop{{Method: "ssh", Host: "web1"}}},
		{"ssh:web1", []Hop{{Method: "ssh", Host: "web1"}}},
		{"ssh:sudo", []Hop{{Method: "ssh", Host: "sudo"}}},
		{"me@local", []Hop{{Method: "ssh", User: "me", Host: "local"}}},
		{"me@corp@web1:22", []Hop{{Method: "ssh", User: "me@corp", Host: "web1", Port: 22}}},
		{`CORP\me@web1`, []Hop{{Method: "ssh", User: `CORP\me`, Host: "web1"}}},
		{"[::1]", []Hop{{Method: "ssh", Host: "::1"}}},
		{"::1", []Hop{{Method: "ssh", Host: "::1"}}},
		{"me@fe80::1%eth0+sudo", []Hop{{Method: "ssh", User: "me", Host: "fe80::1%eth0"},
			{Method: "sudo"}}},
		{"1:2:3:4:5:6:7:8", []Hop{{Method: "ssh", Host: "1:2:3:4:5:6:7:8"}}},
		{"[1.2.3.4]:22", []Hop{{Method: "ssh", Host: "1.2.3.4", Port: 22}}},
		{"[db:replica]:22", []Hop{{Method: "ssh", Host: "db:replica", Port: 22}}},
		{"[docker:x]", []Hop{{Method: "ssh", Host: "docker:x"}}},
		{"prod/web1+a,b", []Hop{{Method: "ssh", Host: "prod/web1"}, {Method: "ssh", Host: "a,b"}}},
		{`a\,b+x\+y`, []Hop{{Method: "ssh", Host: "a,b"}, {Method: "ssh", Host: "x+y"}}},
		{"ssh://web1", []Hop{{Method: "ssh", Host: "web1"}}},
		{"ssh://CORP%2Bme%40x@[fe80::1%eth0]:22/+ssh://local:1", []Hop{
			{Method: "ssh", User: "CORP+me@x", Host: "fe80::1%eth0", Port: 22},
			{Method: "ssh", Host: "local", Port: 1}}},
		{`CORP\+me@web1+sudo:CORP\+pg+su:a\+b`, []Hop{
			{Method: "ssh", User: "CORP+me", Host: "web1"}, {Method: "sudo", User: "CORP+pg"},
			{Method: "su", User: "a+b"}}},
		{`CORP\\me@web1+sudo:CORP\pg`,
			[]Hop{{Method: "ssh", User: `CORP\me`, Host: "web1"}, {Method: "sudo", User: `CORP\pg`}}},
		{`x\\\+y@web1`, []Hop{{Method: "ssh", User: `x\+y`, Host: "web1"}}},
		{"domain users@web1", []Hop{{Method: "ssh", User: "domain users", Host: "web1"}}},
		{"sudo:me@corp.example+doas:a b+machinectl:a b@m+docker:c\\+d@app",
			[]Hop{{Method: "sudo", User: "me@corp.example"},
				{Method: "doas", User: "a b"}, {Method: "machinectl", User: "a b", Host: "m"},
				{Method: "docker", User: "c+d", Host: "app"}}},
		{"HOST$@web1", []Hop{{Method: "ssh", User: "HOST$", Host: "web1"}}},
		{"krb/admin@web1", []Hop{{Method: "ssh", User: "krb/admin", Host: "web1"}}},
		{"ssh:docker:app@gate", []Hop{{Method: "ssh", User: "docker:app", Host: "gate"}}},
		{"me@target:22:ssh@gate", []Hop{{Method: "ssh", User: "me@target:22:ssh", Host: "gate"}}},
		{"chroot:/srv/my tree", []Hop{{Method: "chroot", Host: "/srv/my tree"}}},
		{"ssh:me@[fe80::1%eth0]:2222",
			[]Hop{{Method: "ssh", User: "me", Host: "fe80::1%eth0", Port: 2222}}},
		{"sudo", []Hop{{Method: "sudo"}}},
		{"su:pg+doas+chroot:me@/srv/x",
			[]Hop{{Method: "su", User: "pg"}, {Method: "doas"},
				{Method: "chroot", User: "me", Host: "/srv/x"}}},
		{"docker:app+kubectl:prod@ns/pod/c",
			[]Hop{{Method: "docker", Host: "app"}, {Method: "kubectl", User: "prod", Host: "ns/pod/c"}}},
		{"docker-run:img:1", []Hop{{Method: "docker-run", Host: "img:1"}}},
		{"setns:lxc/c1+setns:1", []Hop{{Method: "setns", Host: "lxc/c1"}, {Method: "setns", Host: "1"}}},
		{`exec:a\+b  "c d" 'e"' sh+sudo`,
			[]Hop{{Method: "exec", Host: `a+b 'c d' 'e"' sh`}, {Method: "sudo"}}},
		{"ssh:docker", []Hop{{Method: "ssh", Host: "docker"}}},
		{"sudo:#1000", []Hop{{Method: "sudo", User: "#1000"}}},
		{"bastion+deploy@web1:65535+sudo:postgres", []Hop{
			{Method: "ssh", Host: "bastion"},
			{Method: "ssh", User: "deploy", Host: "web1", Port: 65535},
			{Method: "sudo", User: "postgres"},
		}},
	} {
		got, err := ParseTarget(tt.in)
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("ParseTarget(%q) = %+v, %v, want %+v", tt.in, got, err, tt.want)
		}
		for i, h := range got {
			if again, err := ParseHop(h.String()); err != nil || again != tt.want[i] {
				t.Errorf("ParseHop(%q) = %+v, %v, want %+v", h, again, err, tt.want[i])
			}
		}
	}
}

func TestParseTargetErrors(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", "empty hop"},
		{"web1+", "empty hop"},
		{"a++b", "empty hop"},
		{"local:x", "takes no arguments"},
		{"ssh", "needs a host"},
		{"ssh:", "needs a host"},
		{"sudo:", "empty user"},
		{"docker", "needs a container"},
		{"docker:", "needs a container"},
		{"docker:a/b", "bad container"},
		{"docker:-x", "bad container"},
		{"docker:@x", "empty user"},
		{"docker-run:$x", "bad image"},
		{"lxc:me@c1", "no number"},
		{"chroot:srv", "no absolute path"},
		{"chroot:/srv;x", "bad directory"},
		{"kubectl:a/b/c/d", "more parts"},
		{"kubectl:/b", "empty name"},
		{"kubectl:a//c", "empty name"},
		{"setns:0", "no process id"},
		{"setns:vm/x", "unknown kind"},
		{"setns:docker/-x", "bad name"},
		{"exec:", "needs a command"},
		{"exec:'", "without its end"},
		{`exec:a\`, "backslash"},
		{"exec:a\nb", "control character"},
		{"sudo:-x", "bad user"},
		{"sudo:a;b", "bad user"},
		{"nonesuch:web1", `unknown method "nonesuch"`},
		{"nonesuch:web1", "docker-run, exec, fork"},
		{"web1:", "bad port"},
		{"web1:0", "bad port"},
		{"web1:65536", "bad port"},
		{"me@web1:x", "bad port"},
		{"@web1", "empty user"},
		{"me@", "empty host"},
		{":22", "empty host"},
		{"-oProxyCommand=x", "bad host"},
		{"-x@web1", "bad user"},
		{"a;b", "bad host"},
		{`a\b`, "bad host"},
		{"ssh://", "empty host"},
		{"ssh://web1/x", "not ssh://"},
		{"ssh://web1:x", "is no port"},
		{"ssh://me;fingerprint=x@web1", "bad user"},
		{"ssh://%zz@web1", "bad user"},
		{"ssh://@web1", "empty user"},
		{"ssh://a%0Ab@web1", "bad user"},
		{"ssh://-x", "bad host"},
		{"a -oProxyCommand=x@web1", "bad user"},
		{`a\@web1`, "bad user"},
		{" a@web1", "bad user"},
		{"a $@web1", "bad user"},
		{"$@web1", "bad user"},
		{"$x@web1", "bad user"},
		{"su:a -b", "bad user"},
		{"a b", "bad host"},
		{"[a]b]", "after ]"},
		{"[a;b]", "bad host"},
		{"[]", "empty host"},
		{"db:replica", "[db:replica]"},
		{"ssh:a:b:c", "brackets"},
		{"web1\x1b", "bad host"},
		{"::1:x", "brackets"},
		{"[::1", "no ]"},
		{"[::1]x", "after ]"},
		{"[::1]:", "bad port"},
	} {
		_, err := ParseTarget(tt.in)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("ParseTarget(%q): error %v, want one with %q", tt.in, err, tt.want)
		} else if strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("ParseTarget(%q): error %q isn't one clean line", tt.in, err)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"a+b", "me@[::1]:22", "sudo:x", "ssh:local", "x:y",
		`exec:a\+b "c\"" '\d'`, "chroot:a@/b", "kubectl:a@b/c/d", "[", "@", ":"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		hops, err := ParseTarget(s)
		if err != nil {
			return
		}
		for _, h := range hops {
			if again, err := ParseHop(h.String()); err != nil || again != h {
				t.Errorf("%+v is written %q, which reads as %+v, %v", h, h.String(), again, err)
			}
		}
	})
}

func TestFormatTarget(t *testing.T) {
	for _, target := range []string{"web1", "ssh:sudo", `CORP\+me@a+sudo:x\+y`, `a\\\+b@[c:d]`,
		"[ssh:x]", `CORP\me@a`, "a+me@[::1]:22+sudo:pg", `exec:a\+b sh+docker:x`, "kubectl:c@n/p/c"} {
		hops, err := ParseTarget(target)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := FormatTarget(hops); err != nil || got != target {
			t.Errorf("FormatTarget of the hops of %q = %q, %v", target, got, err)
		}
	}
	for _, h := range []Hop{
		{Method: "ssh", Host: "a]"},
		{Method: "ssh", Host: "me@a"},
		{Method: "ssh", Host: "a", User: `x\`},
		{Method: "ssh", Host: "a", User: "x -y"},
		{Method: "ssh", Host: "-oProxyCommand=x"},
		{Method: "ssh", Host: "a", Port: 65536},
		{Method: "ssh"},
		{Method: "sudo", User: `x+local\`},
		{Method: "docker", Host: "me@app"},
		{Method: "kubectl", Host: "a/b/c/d"},
		{Method: "local", Host: "x"},
		{Method: "nonesuch", Host: "x"},
	} {
		if got, err := FormatTarget([]Hop{{Method: "ssh", Host: "first"}, h}); err == nil {
			t.Errorf("FormatTarget of %+v = %q, want an error", h, got)
		}
	}
}

// A hop stays one hop, whatever its names have in them.
func FuzzFormatTarget(f *testing.F) {
	for _, s := range []string{"a", "a+local", `a\`, `\+`, "a:22", "me@a", "docker:x", "//a", "a,b",
		"[a", "::1", "a b", "a$"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, user, host string) {
		for _, h := range []Hop{{Method: "ssh", User: user, Host: host},
			{Method: "ssh", Host: host, Port: 22}, {Method: "sudo", User: user},
			{Method: "docker", User: user, Host: host}} {
			text, err := FormatTarget([]Hop{{Method: "local"}, h})
			if err != nil {
				continue
			}
			if again, err := ParseTarget(text); err != nil || len(again) != 2 || again[1] != h {
				t.Errorf("%+v is written %q, which reads as %+v, %v", h, text, again, err)
			}
		}
	})
}
