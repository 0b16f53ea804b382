package connect

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
		{"ssh:me@[fe80::1%eth0]:2222", []Hop{{Method: "ssh", User: "me", Host: "fe80::1%eth0", Port: 2222}}},
		{"sudo", []Hop{{Method: "sudo"}}},
		{"su:pg+doas+chroot:me@/srv/x", []Hop{{Method: "su", User: "pg"}, {Method: "doas"}, {Method: "chroot", User: "me", Host: "/srv/x"}}},
		{"docker:app+kubectl:prod@ns/pod/c", []Hop{{Method: "docker", Host: "app"}, {Method: "kubectl", User: "prod", Host: "ns/pod/c"}}},
		{"docker-run:img:1", []Hop{{Method: "docker-run", Host: "img:1"}}},
		{"setns:lxc/c1+setns:1", []Hop{{Method: "setns", Host: "lxc/c1"}, {Method: "setns", Host: "1"}}},
		{`exec:a\+b  "c d" 'e"' sh+sudo`, []Hop{{Method: "exec", Host: `a+b 'c d' 'e"' sh`}, {Method: "sudo"}}},
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
		{"sudo:a b", "bad user"},
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
		{"ssh://web1", "bad host"},
		{"web1\x1b", "bad host"},
		{"::1", "brackets"},
		{"[::1", "no ]"},
		{"[::1]x", "after ]"},
		{"[1.2.3.4]", "no IPv6 address"},
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
	for _, s := range []string{"a+b", "me@[::1]:22", "sudo:x", "ssh:local", "x:y", `exec:a\+b "c\"" '\d'`, "chroot:a@/b", "kubectl:a@b/c/d", "[", "@", ":"} {
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
	for _, target := range []string{"web1", "ssh:sudo", "a+me@[::1]:22+sudo:pg", `exec:a\+b sh+docker:x`, "kubectl:c@n/p/c"} {
		hops, err := ParseTarget(target)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := FormatTarget(hops); err != nil || got != target {
			t.Errorf("FormatTarget of the hops of %q = %q, %v", target, got, err)
		}
	}
	for _, h := range []Hop{
		{Method: "ssh", Host: "a+local"},
		{Method: "ssh", Host: "a:22"},
		{Method: "ssh", Host: "me@a"},
		{Method: "ssh", Host: "a", User: "x+local"},
		{Method: "ssh", Host: "-oProxyCommand=x"},
		{Method: "ssh", Host: "a", Port: 65536},
		{Method: "ssh"},
		{Method: "sudo", User: "x+local"},
		{Method: "docker", Host: "a+b"},
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
