package methods

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/connect"
)

var testBoot = []string{"sh", "-c", "echo $0", "a'b"}

const (
	sshStart = "ssh -T -o LogLevel=VERBOSE -o ControlMaster=no -o ForwardX11=no -o " +
		"ClearAllForwardings=yes -o ConnectTimeout=30 "
	sshBatch = "-o BatchMode=yes -o NumberOfPasswordPrompts=1 -o PasswordAuthentication=no -o " +
		"KbdInteractiveAuthentication=no "
	sshBoot = ` 'sh' '-c' 'echo $0' 'a'\''b'`
)

func TestPlanArgv(t *testing.T) {
	yes := true
	all := connect.Options{
		Timeout: 1500 * time.Millisecond,
		SSH: connect.SSHOptions{Path: "/opt/ssh", Args: []string{"-v"}, ConfigFile: "cfg", Port: 1,
			User:         "u",
			IdentityFile: "key",
			HostKeys:     connect.HostKeysAcceptNew, Compression: &yes, KeepAliveInterval: time.Second,
			KeepAliveCount: 2},
		Sudo: connect.SudoOptions{Path: "/opt/sudo", SetHome: true, Args: []string{"-E"}},
	}
	for _, tt := range []struct {
		hop  string
		opt  connect.Options
		want string
	}{
		{"local", connect.Options{}, "sh -c echo $0 a'b"},
		{"web1", connect.Options{}, sshStart + sshBatch + "-o Compression=yes -- web1" + sshBoot},
		{"me@[::1]:22", connect.Options{}, sshStart + "-l me -p 22 " + sshBatch +
			"-o Compression=yes -- ::1" +
			sshBoot},
		{"web1", all, "/opt/ssh -T -F cfg -o LogLevel=VERBOSE -o ControlMaster=no -o ForwardX11=no -o " +
			"ClearAllForwardings=yes " +
			"-o ConnectTimeout=2 -l u -p 1 -i key -o IdentitiesOnly=yes -o Compression=yes -o " +
			"ServerAliveInterval=1 " +
			"-o ServerAliveCountMax=2 -o StrictHostKeyChecking=accept-new " + sshBatch + "-v -- web1" +
			sshBoot},
		{"me@web1:22", connect.Options{SSH: connect.SSHOptions{FirstArgs: []string{"-o", "User=x", "-o",
			"PasswordAuthentication=yes"}, IdentityFile: "k", OtherKeys: true}},
			sshStart[:len(sshStart)-len("-o ConnectTimeout=30 ")] + sshBatch +
				"-o User=x -o PasswordAuthentication=yes -o ConnectTimeout=30 -l me -p 22 -o " +
				"IdentityFile=\"k\" " +
				"-o Compression=yes -- web1"},
		{"me@web1:22", all, "-l me -p 22 "},
		{"web1", connect.Options{SSH: connect.SSHOptions{HostKeys: connect.HostKeysStrict}},
			"-o StrictHostKeyChecking=yes "},
		{"web1", connect.Options{SSH: connect.SSHOptions{HostKeys: connect.HostKeysOff}},
			"-o StrictHostKeyChecking=no " +
				"-o UserKnownHostsFile=/dev/null -o GlobalKnownHostsFile=/dev/null "},
		{"sudo", connect.Options{}, "sudo -p mitogen-password -u root -- sh -c echo $0 a'b"},
		{"sudo:pg", all, "/opt/sudo -p mitogen-password -u pg -H -E -- sh -c echo $0 a'b"},
		{"su", connect.Options{}, "su root -c 'sh' '-c' 'echo $0' 'a'\\''b'"},
		{"su:pg", connect.Options{Su: connect.SuOptions{Path: "/opt/su", Login: true, Args: []string{"-s",
			"/bin/sh"}}},
			"/opt/su -s /bin/sh - pg -c 'sh'"},
		{"doas", connect.Options{}, "doas -u root -- sh -c echo $0 a'b"},
		{"doas:pg", connect.Options{Doas: connect.DoasOptions{Path: "/opt/doas", Args: []string{"-n"}}},
			"/opt/doas -u pg -n -- sh -c echo"},
		{"docker:app", connect.Options{}, "docker exec --interactive app sh -c echo"},
		{"docker:www@app", programs("docker", "/opt/docker", "-H", "tcp://h"),
			"/opt/docker -H tcp://h exec --interactive --user www app sh -c echo"},
		{"docker:app", connect.Options{Programs: map[string]connect.ProgramOptions{
			"docker": {Args: []string{"-H", "h"},
				ExecArgs: []string{"--privileged"}}}},
			"docker -H h exec --interactive --privileged app sh -c echo"},
		{"docker-run:reg.example/lib/img:1.2", connect.Options{},
			"docker run --interactive --rm --log-driver none --entrypoint  reg.example/lib/img:1.2 sh -c " +
				"echo"},
		{"podman:1000:10@app", connect.Options{},
			"podman exec --interactive --user 1000:10 app sh -c echo"},
		{"podman-run:img", connect.Options{},
			"podman run --interactive --rm --log-driver none --entrypoint  img sh -c echo"},
		{"buildah:me@work", connect.Options{}, "buildah run --user me -- work sh -c echo"},
		{"kubectl:pod", connect.Options{}, "kubectl exec --stdin --quiet pod -- sh -c echo"},
		{"kubectl:ns/pod", connect.Options{},
			"kubectl --namespace ns exec --stdin --quiet pod -- sh -c echo"},
		{"kubectl:/pod/side", connect.Options{},
			"kubectl exec --stdin --quiet pod --container side -- sh -c echo"},
		{"kubectl:arn:aws:eks:eu:1:cluster/prod@ns/pod/side",
			programs("kubectl", "", "--kubeconfig", "k"),
			"kubectl --kubeconfig k --context arn:aws:eks:eu:1:cluster/prod --namespace ns exec --stdin " +
				"--quiet pod --container side -- sh -c echo"},
		{"lxc:1000@c1", connect.Options{}, "lxc-attach --clear-env --name c1 --uid 1000 -- sh -c echo"},
		{"lxd:far:c1", connect.Options{}, "lxc exec far:c1 --mode non-interactive -- sh -c echo"},
		{"incus:1000@c1", connect.Options{},
			"incus exec c1 --mode non-interactive --user 1000 -- sh -c echo"},
		{"jail:www@7", connect.Options{}, "jexec -U www 7 sh -c echo"},
		{"machinectl:me@m1", connect.Options{}, "machinectl --quiet shell me@m1 /usr/bin/env sh -c echo"},
		{"machinectl:.host", connect.Options{},
			"machinectl --quiet shell root@.host /usr/bin/env sh -c echo"},
		{"nspawn:me@/srv/root", programs("nspawn", "", "--ephemeral"),
			"systemd-nspawn --quiet --pipe --directory /srv/root --user me --ephemeral -- sh -c echo"},
		{"chroot:/srv/root", connect.Options{}, "chroot /srv/root sh -c echo"},
		{"chroot:me:staff@/srv/root", connect.Options{},
			"chroot --userspec=me:staff /srv/root sh -c echo"},
		{"setns:4711", connect.Options{}, "nsenter --all --target 4711 -- sh -c echo"},
		{"setns:docker/app", connect.Options{},
			"sh -c p=`docker inspect --type container --format '{{.State.Pid}}' 'app'` && " +
				"exec 'nsenter' '--all' --target \"$p\" -- \"$@\" sh sh -c echo"},
		{"exec:nice env", connect.Options{}, "nice env sh -c echo $0 a'b"},
		{"exec:ssh -J b host bash", connect.Options{},
			"ssh -J b host bash -c exec \"$@\" bash sh -c echo $0 a'b"},
		{`exec:docker run -i 'a b' python3.12`, connect.Options{}, "docker run -i a b python3.12 -c a'b"},
		{"sudo:pg", connect.Options{Sudo: connect.SudoOptions{Args: []string{"-s"}}},
			"sudo -p mitogen-password -u pg -s -- sh -c eval \"`printf %b '"},
		{"sudo:pg", connect.Options{Sudo: connect.SudoOptions{Login: true}},
			"sudo -p mitogen-password -u pg -i -- sh -c eval \"`printf %b '"},
	} {
		got := strings.Join(mustPlan(t, tt.hop, tt.opt, true).Argv, " ")
		if !strings.Contains(got, tt.want) {
			t.Errorf("%s %+v:\n got %s\nwant %s", tt.hop, tt.opt, got, tt.want)
		}
	}
}

func programs(method, path string, args ...string) connect.Options {
	return connect.Options{Programs: map[string]connect.ProgramOptions{method: {Path: path,
		Args: args}}}
}

func TestPlanQuestions(t *testing.T) {
	password := connect.Options{SSH: connect.SSHOptions{Password: "pw"}, Sudo: connect.SudoOptions{
		Password: "pw"}}
	for _, tt := range []struct {
		name    string
		hop     string
		opt     connect.Options
		here    bool
		ask     Ask
		tty     bool
		batch   bool
		prompts string
	}{
		{"no person to ask", "web1", connect.Options{}, true, AskPass, false, true, ""},
		{"no person to ask, in a hop", "web1", connect.Options{}, false, AskNone, true, true, ""},
		{"a person to ask", "web1", connect.Options{Interactive: true}, true, AskPass, false, false, ""},
		{"a person to ask, in a hop", "web1", connect.Options{Interactive: true}, false, AskNone, true,
			false,
			""},
		{"password", "web1", password, true, AskPass, false, false, ""},
		{"password in a hop", "web1", password, false, AskNone, true, false, ""},
		{"sudo", "sudo", connect.Options{}, true, AskNone, true, false, "mitogen-password!"},
		{"sudo with password", "sudo", password, false, AskNone, true, false, "mitogen-password=pw"},
		{"local", "local", password, false, AskNone, false, false, ""},
	} {
		p := mustPlan(t, tt.hop, tt.opt, tt.here)
		if p.Ask != tt.ask || p.TTY != tt.tty || p.Wait {
			t.Errorf("%s: ask %v, tty %v, wait %v", tt.name, p.Ask, p.TTY, p.Wait)
		}
		argv := strings.Join(p.Argv, " ")
		if strings.Contains(argv, "BatchMode=yes") != tt.batch {
			t.Errorf("%s: got arguments %s, want BatchMode=yes: %t", tt.name, argv, tt.batch)
		}
		var prompts []string
		for _, q := range p.Prompts {
			if q.Answer == nil {
				prompts = append(prompts, string(q.Needle)+"!")
			} else {
				prompts = append(prompts, string(q.Needle)+"="+string(q.Answer))
			}
		}
		if got := strings.Join(prompts, " "); got != tt.prompts {
			t.Errorf("%s: prompts %s, want %s", tt.name, got, tt.prompts)
		}
	}
}

// What bounds attempts stands before what a user says, since ssh takes the first.
func TestPlanAttempts(t *testing.T) {
	own := []string{"-o", "BatchMode=no", "-o", "NumberOfPasswordPrompts=5",
		"-oPasswordAuthentication=yes", "-o", "KbdInteractiveAuthentication=yes"}
	for _, tt := range []struct {
		name string
		opt  connect.Options
		want string
	}{
		{"nothing", connect.Options{}, sshBatch},
		{"password", connect.Options{SSH: connect.SSHOptions{Password: "pw"}},
			"-o BatchMode=no -o NumberOfPasswordPrompts=1 -o BatchMode=no"},
		{"password and person", connect.Options{Interactive: true,
			SSH: connect.SSHOptions{Password: "pw"}},
			"-o BatchMode=no -o NumberOfPasswordPrompts=1 -o BatchMode=no"},
		{"both secrets", connect.Options{SSH: connect.SSHOptions{Password: "pw", Passphrase: "pp"}},
			"-o BatchMode=no -o NumberOfPasswordPrompts=1 -o BatchMode=no"},
		{"passphrase", connect.Options{SSH: connect.SSHOptions{Passphrase: "pp"}},
			"-o BatchMode=no -o NumberOfPasswordPrompts=1 -o PasswordAuthentication=no -o " +
				"KbdInteractiveAuthentication=no "},
		{"person", connect.Options{Interactive: true},
			"-o ConnectTimeout=30 -o BatchMode=no -o NumberOfPasswordPrompts=5"},
	} {
		tt.opt.SSH.Args = own
		for _, here := range []bool{true, false} {
			if got := strings.Join(mustPlan(t, "web1", tt.opt, here).Argv, " "); !strings.Contains(got,
				tt.want) {
				t.Errorf("%s, here %v: got %s, want %s in it", tt.name, here, got, tt.want)
			}
		}
	}
}

// Where translations are installed, sudo would use them.
func TestPlanSudoEnv(t *testing.T) {
	if p := mustPlan(t, "sudo", connect.Options{}, false); !reflect.DeepEqual(p.Env,
		[]string{"LANGUAGE=C"}) {
		t.Errorf("environment of sudo: got %q, want LANGUAGE=C", p.Env)
	}
}

func TestPlanTimeout(t *testing.T) {
	for in, want := range map[time.Duration]time.Duration{0: 30 * time.Second, -1: 0,
		time.Second: time.Second} {
		p := mustPlan(t, "web1", connect.Options{Timeout: in}, true)
		if p.Timeout != want || strings.Contains(p.Argv[len(p.Argv)-1], "ConnectTimeout") {
			t.Errorf("timeout %v: plan has %v", in, p.Timeout)
		}
	}
}

func TestPlanErrors(t *testing.T) {
	for name, make := range map[string]func() (Plan, error){
		"unknown method": func() (Plan, error) {
			return Hop{Method: "x"}.Plan(testBoot, connect.Options{}, true)
		},
		"no command": func() (Plan, error) {
			return Hop{Method: "local"}.Plan(nil, connect.Options{},
				true)
		},
		"no host": func() (Plan, error) {
			return Hop{Method: "ssh"}.Plan(testBoot, connect.Options{},
				true)
		},
		"host key policy": func() (Plan, error) {
			return Hop{Method: "ssh", Host: "h"}.Plan(testBoot, connect.Options{SSH: connect.SSHOptions{
				HostKeys: "x"}},
				true)
		},
	} {
		if _, err := make(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Secrets must not get into logs by any of the usual ways.
func TestSecretsStayHidden(t *testing.T) {
	opt := connect.Options{SSH: connect.SSHOptions{Password: "hunter2", Passphrase: "hunter2"},
		Sudo: connect.SudoOptions{Password: "hunter2"}}
	js, err := json.Marshal(opt)
	if err != nil {
		t.Fatal(err)
	}
	shown := string(js)
	for _, v := range []any{opt, &opt, mustPlan(t, "sudo", opt, false),
		mustPlan(t, "web1", opt, false).Prompts} {
		shown += fmt.Sprintf("%v %+v %#v %s\n", v, v, v, v)
	}
	for _, v := range []any{mustPlan(t, "sudo", opt, false), mustPlan(t, "sudo", opt, false).Prompts,
		mustPlan(t, "sudo", opt, false).Prompts[0]} {
		js, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		shown += string(js)
		for _, verb := range "vsqxXdobcUeEfFgGt" {
			shown += fmt.Sprintf("%"+string(verb)+" %#"+string(verb)+" %+"+string(verb)+"\n", v, v, v)
		}
	}
	for _, form := range []string{fmt.Sprint([]byte("hunter2")), fmt.Sprintf("%x", "hunter2"),
		fmt.Sprintf("%#x", []byte("hunter2")), base64.StdEncoding.EncodeToString([]byte("hunter2"))} {
		if strings.Contains(strings.ToLower(shown), strings.Trim(strings.ToLower(form), "[]")) {
			t.Errorf("shown as %s: %s", form, shown)
		}
	}
	shown += strings.Join(append(mustPlan(t, "sudo", opt, false).Argv,
		mustPlan(t, "web1", opt, true).Argv...), " ")
	if strings.Contains(shown, "hunter2") {
		t.Error(shown)
	}
}

// Every login shell found must hand on the same words.
func TestQuoteCommand(t *testing.T) {
	words := []string{"", "a b", "'", "''", `"$HOME"`, "`id`", `a\b`, `\\'`, "!", "x!y '!' z", "*",
		"~", "=ls", "#x", "{a,b}", "a;b&c|d<e>(f)",
		"$0", "%s", "-n", "é\t", "for p in x;do command -v $p>/dev/null 2>&1&&exec $p -c \"$0\" " +
			"N;done;exit 127"}
	want := strings.Join(words, "|") + "|"
	line := QuoteCommand(append([]string{"printf", "%s|"}, words...))
	for _, shell := range []string{"sh", "dash", "bash", "zsh", "ksh", "fish", "csh", "tcsh",
		"busybox sh"} {
		argv := append(strings.Fields(shell), "-c", line)
		path, err := exec.LookPath(argv[0])
		if err != nil {
			continue
		}
		got, err := exec.Command(path, argv[1:]...).Output()
		if err != nil || string(got) != want {
			t.Errorf("%s: %v\n got %q\nwant %q", shell, err, got, want)
		}
	}
}

// The way of sudo -i: its own escaping, then any login shell, then sh.
func TestWithoutDollars(t *testing.T) {
	command := []string{"sh", "-c", `printf '%s|' "$0" $# "$@"`, `$x'"` + "`" + `\a\\!%`, "",
		" $HOME $"}
	const want = `$x'"` + "`" + `\a\\!%|2|| $HOME $|`
	plain := withoutDollars(command)
	if strings.Contains(strings.Join(plain, ""), "$") {
		t.Fatalf("dollars in %q", plain)
	}
	if words := []string{"true", "x"}; !reflect.DeepEqual(withoutDollars(words), words) {
		t.Error("a command without dollars was changed")
	}
	for _, shell := range []string{"sh", "dash", "bash", "zsh", "ksh", "fish", "csh", "tcsh"} {
		path, err := exec.LookPath(shell)
		if err != nil {
			continue
		}
		got, err := exec.Command(path, "-c", sudoEscape(plain)).Output()
		if err != nil || string(got) != want {
			t.Errorf("%s: %v\n got %q\nwant %q", shell, err, got, want)
		}
	}
}

// sudoEscape does what sudo -i does to the words of a command.
func sudoEscape(words []string) string {
	var b strings.Builder
	for _, c := range []byte(strings.Join(words, "\x00")) {
		switch {
		case c == 0:
			b.WriteByte(' ')
			continue
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-',
			c == '$':
		default:
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	return b.String()
}

func mustPlan(t *testing.T, hop string, opt connect.Options, here bool) Plan {
	t.Helper()
	h, err := ParseHop(hop)
	if err != nil {
		t.Fatal(err)
	}
	p, err := h.Plan(testBoot, opt, here)
	if err != nil {
		t.Fatal(err)
	}
	if p.Name != hop || p.Method != h.Method {
		t.Errorf("plan of %s is called %q %q", hop, p.Name, p.Method)
	}
	return p
}
