package sshargs

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// What clients were seen to call ssh with; each line is a client's, words are separated by blanks
// but within '…'.
var seen = []struct {
	client, argv string
	want         Args
}{
	{"rsync", "-l user host rsync --server -logDtpre.iLsfxCIvu . /srv/",
		Args{Host: "host", User: "user", Command: "rsync --server -logDtpre.iLsfxCIvu . /srv/"}},
	{"rsync --rsync-path", "host 'sudo -u app rsync' --server -e.LsfxCIvu . x",
		Args{Host: "host", Command: "sudo -u app rsync --server -e.LsfxCIvu . x"}},
	{"rsync [v6]", "-4 ::1 rsync --server . x", Args{Host: "::1", Command: "rsync --server . x"}},
	{"rsync -e", "-p 2222 -i key -o A=b -l user host rsync",
		Args{Host: "host", User: "user", Port: 2222, Command: "rsync"}},
	{"scp", "-x -oPermitLocalCommand=no -oClearAllForwardings=yes -oRemoteCommand=none " +
		"-oRequestTTY=no -oForwardAgent=no -l user -s -- host sftp",
		Args{Host: "host", User: "user", Subsystem: true, Command: "sftp"}},
	{"scp, many options", "-x -oRequestTTY=no -C -4 -q -i key -F cfg -J jump -o X=y -c aes128-ctr " +
		"-p 99 -l u -s -- host sftp",
		Args{Host: "host", User: "u", Port: 99, Quiet: true, Subsystem: true, Command: "sftp"}},
	{"scp -O", "-x -oRemoteCommand=none -- host 'scp -r -p -t /srv/x'",
		Args{Host: "host", Command: "scp -r -p -t /srv/x"}},
	{"scp -R", "-x -oClearAllForwardings=yes -n -- h1 scp /a h2:/b",
		Args{Host: "h1", NoStdin: true, Command: "scp /a h2:/b"}},
	{"sftp", "'-oForwardX11 no' '-obatchmode yes' '-oPort 2222' -l user -s -- host sftp",
		Args{Host: "host", User: "user", Port: 2222, Subsystem: true, Command: "sftp"}},
	{"sftp -s path", "'-oForwardAgent no' -- host '/usr/bin/sudo /usr/lib/openssh/sftp-server'",
		Args{Host: "host", Command: "/usr/bin/sudo /usr/lib/openssh/sftp-server"}},
	{"git", "-o SendEnv=GIT_PROTOCOL -p 2222 u@host 'git-upload-pack '~/repo''",
		Args{Host: "host", User: "u", Port: 2222, SendEnv: []string{"GIT_PROTOCOL"},
			Command: "git-upload-pack '~/repo'"}},
	{"git, probe", "-G -o SendEnv=GIT_PROTOCOL -p 22 u@host",
		Args{Host: "host", User: "u", Port: 22, SendEnv: []string{"GIT_PROTOCOL"}, Config: true}},
	{"borg", "-p 2222 u@host borg serve",
		Args{Host: "host", User: "u", Port: 2222, Command: "borg serve"}},
	{"restic", "host -p 2222 -l u -s sftp",
		Args{Host: "host", User: "u", Port: 2222, Subsystem: true, Command: "sftp"}},
	{"sshfs", "-x -a -oClearAllForwardings=yes -oPort=2222 -2 -s -- u@host sftp",
		Args{Host: "host", User: "u", Port: 2222, Subsystem: true, Command: "sftp"}},
	{"unison", "-l u -p 2222 host -e none unison -server __new-rpc-mode",
		Args{Host: "host", User: "u", Port: 2222, Escape: "none",
			Command: "unison -server __new-rpc-mode"}},
	{"unison, sshargs", "host -e none -x unison -server __new-rpc-mode",
		Args{Host: "host", Escape: "none", Command: "unison -server __new-rpc-mode"}},
	{"mosh", "-n -tt -S none -o 'ProxyCommand=mosh --fake-proxy -- %h %p' u@host -- 'mosh-server new'",
		Args{Host: "host", User: "u", NoStdin: true, Terminal: TerminalForce,
			Command: "mosh-server new"}},
	{"docker", "-l u -p 2222 -- host docker system dial-stdio",
		Args{Host: "host", User: "u", Port: 2222, Command: "docker system dial-stdio"}},
	{"docker 29", "'-o ConnectTimeout=30' -T -- host docker system dial-stdio",
		Args{Host: "host", Command: "docker system dial-stdio"}},
	{"synchronize", "-S none -i K -o Port=22 -o StrictHostKeyChecking=no -o " +
		"UserKnownHostsFile=/dev/null -C -o ControlMaster=auto -l u 10.0.0.9 'sudo -u app rsync' " +
		"--server",
		Args{Host: "10.0.0.9", User: "u", Port: 22, Command: "sudo -u app rsync --server"}},
	{"ansible", "-C -o 'ControlPath=\"/h/.ansible/cp/1\"' -o NumberOfPasswordPrompts=1 10.0.0.8 " +
		"'/bin/sh -c true'", Args{Host: "10.0.0.8", Command: "/bin/sh -c true"}},
	{"editor", "-T -D 40000 host bash",
		Args{Host: "host", Command: "bash", Forwards: []Forward{{'D', "40000"}}}},
}

// split parts a line into words; what is in quotes that begin a word is one.
func split(line string) []string {
	var words []string
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		end := " "
		if line[0] == '\'' {
			line, end = line[1:], "' "
		}
		word, rest, ok := strings.Cut(line, end)
		if !ok {
			word, rest = strings.TrimSuffix(line, strings.TrimSpace(end)), ""
		}
		words, line = append(words, word), rest
	}
	return words
}

func TestSeenClients(t *testing.T) {
	for _, tt := range seen {
		got, err := Parse(split(tt.argv))
		want := tt.want
		if want.Terminal == TerminalAuto && want.Command != "" {
			want.Terminal = TerminalNever
		}
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%s: %s:\ngot  %+v, %v\nwant %+v", tt.client, tt.argv, got, err, want)
		}
	}
}

func TestRules(t *testing.T) {
	for argv, want := range map[string]Args{
		"h":                     {Host: "h"},
		"a@b@h":                 {Host: "h", User: "a@b"},
		"-lfirst second@h":      {Host: "h", User: "first"},
		"first@h -l second":     {Host: "h", User: "first"},
		"-oUser=first second@h": {Host: "h", User: "first"},
		"ssh://u@h:2222":        {Host: "h", User: "u", Port: 2222},
		"ssh://[::1]:22/":       {Host: "::1", Port: 22},
		"ssh://u;x=y@h":         {Host: "h", User: "u"},
		"h echo -l x": {
			Host: "h", Command: "echo -l x", Terminal: TerminalNever,
		},
		"h -- -x": {Host: "h", Command: "-x", Terminal: TerminalNever},
		"-- h -x": {Host: "h", Command: "-x", Terminal: TerminalNever},
		"-NfL8080:a:80 h": {
			Host: "h", NoCommand: true, Behind: true, NoStdin: true, Forwards: []Forward{{'L', "8080:a:80"}},
		},
		"-fN h": {
			Host: "h", NoCommand: true, Behind: true, NoStdin: true,
		},
		"h -f x": {
			Host: "h", Behind: true, NoStdin: true, Command: "x", Terminal: TerminalNever,
		},
		"-fO check h": {
			Host: "h", Behind: true, NoStdin: true, Control: "check",
		},
		"-t h top": {Host: "h", Terminal: TerminalAsk, Command: "top"},
		"-ttvvp1 h top": {
			Host: "h", Terminal: TerminalForce, Verbose: 2, Port: 1, Command: "top",
		},
		"-t -T h":                         {Host: "h", Terminal: TerminalNever},
		"-oREQUESTTTY=Force h":            {Host: "h", Terminal: TerminalForce},
		"'-o RemoteForward 80 a:81' h":    {Host: "h", Forwards: []Forward{{'R', "80:a:81"}}},
		"-R0 -oClearAllForwardings=yes h": {Host: "h"},
		"-W [::1]:80 h":                   {Host: "h", Stdio: "[::1]:80", Terminal: TerminalNever},
		"-oSessionType=none h":            {Host: "h", NoCommand: true},
		"-o 'SetEnv A=b C=\"d e\"' h":     {Host: "h", SetEnv: []string{"A=b", "C=d e"}},
		"-oSendEnv=A -oSendEnv=B* h":      {Host: "h", SendEnv: []string{"A", "B*"}},
		"-oRemoteCommand='x' h":           {Host: "h", Command: "'x'", Terminal: TerminalNever},
		"-A -a h":                         {Host: "h"},
		"-a -A h":                         {Host: "h", Agent: true},
		"h -A true": {
			Host: "h", Agent: true, Command: "true", Terminal: TerminalNever,
		},
		"-a -oForwardAgent=yes h":                {Host: "h"},
		"-oForwardAgent=no -A h":                 {Host: "h", Agent: true},
		"-oForwardAgent=no -oForwardAgent=yes h": {Host: "h"},
		"-oforwardagent=TRUE h":                  {Host: "h", Agent: true},
		"'-o ForwardAgent /s' h":                 {Host: "h", Agent: true, ForwardAgent: "/s"},
		"-a -oForwardAgent=/s h":                 {Host: "h", ForwardAgent: "/s"},
		"-A -oForwardAgent=$X h":                 {Host: "h", Agent: true, ForwardAgent: "$X"},
		"-oForwardAgent=/a -oForwardAgent=/b h":  {Host: "h", Agent: true, ForwardAgent: "/a"},
		"-oIdentityAgent=/s h":                   {Host: "h", IdentityAgent: "/s"},
		"-oForkAfterAuthentication=yes h x": {
			Host: "h", Behind: true, NoStdin: true, Command: "x", Terminal: TerminalNever,
		},
		"-oForwardAgent=yes h":                {Host: "h", Agent: true},
		"-V":                                  {Version: true},
		"-Q key":                              {Query: "key"},
		"-O check h":                          {Host: "h", Control: "check"},
		"-oStdinNull=yes -oEscapeChar=none h": {Host: "h", NoStdin: true, Escape: "none"},
	} {
		got, err := Parse(split(argv))
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%s:\ngot  %+v, %v\nwant %+v", argv, got, err, want)
		}
	}
}

func TestRefused(t *testing.T) {
	for argv, want := range map[string]string{
		"":                      "no host",
		"-l":                    "requires an argument -- l",
		"-Z h":                  "unknown option",
		"-\xff h":               "unknown option",
		"-w 0 h":                "tunnel devices",
		"-p 0 h":                "bad port",
		"-p 65536 h":            "bad port",
		"-o X h":                "got no value",
		"-o = h":                "got no value",
		"@h":                    "bad host",
		"u@":                    "bad host",
		"-- -oProxyCommand=x":   "bad host",
		"-s h":                  "-s and no name",
		"-W a:1 -W b:2 h":       "got two",
		"-oRemoteCommand=a h b": "want one of them",
		"ssh://h:x":             "bad port",
		"-f h":                  "neither a command nor -N",
		"-fT -L1:a:1 h":         "neither a command nor -N",
		"-f -W a:1 h":           "-f and -W",
	} {
		_, err := Parse(split(argv))
		refused := (*Error)(nil)
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", argv, err, want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	a := Args{SendEnv: []string{"LC_*", "A?C"}, SetEnv: []string{"X=1"}}
	got := a.Environment([]string{"LC_ALL=C", "LANG=x", "ABC=2", "AC=3", "LC_=y"})
	if want := []string{"LC_ALL=C", "ABC=2", "LC_=y", "X=1"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Whatever the words are, reading them ends, and what comes of it can be used: a host is no option.
func FuzzParse(f *testing.F) {
	for _, tt := range seen {
		f.Add(strings.Join(split(tt.argv), "\x00"))
	}
	f.Add("-oForwardAgent=${A}%d\x00-oIdentityAgent=$A\x00h")
	f.Add("-o\x00SendEnv=" + strings.Repeat("*a", 50) + "\x00h")
	f.Fuzz(func(t *testing.T, line string) {
		a, err := Parse(strings.Split(line, "\x00"))
		if err != nil {
			return
		}
		if strings.HasPrefix(a.Host, "-") || a.Host == "" && !a.Version && a.Query == "" {
			t.Errorf("got host %q", a.Host)
		}
		a.Environment([]string{strings.Repeat("a", 200) + "=1"})
		a.AgentPath(strings.ToLower)
	})
}

// The agent that is meant, by all that names one.
func TestAgentPath(t *testing.T) {
	set := map[string]string{"SSH_AUTH_SOCK": "/usual", "X": "/x", "HOME": "/home/u",
		"XDG_RUNTIME_DIR": "/run/u"}
	for argv, want := range map[string]string{
		"":                                    "",
		"-oIdentityAgent=/s":                  "",
		"-A":                                  "/usual",
		"-A -a":                               "",
		"-oForwardAgent=yes":                  "/usual",
		"-oForwardAgent=/s":                   "/s",
		"-a -oForwardAgent=/s":                "",
		"-oForwardAgent=$X":                   "/x",
		"-oForwardAgent=$UNSET":               "",
		"-oForwardAgent=~/s":                  "/home/u/s",
		"-oForwardAgent=%d/%%/s":              "/home/u/%/s",
		"-oForwardAgent=${XDG_RUNTIME_DIR}/s": "/run/u/s",
		"-A -oIdentityAgent=none":             "",
		"-A -oIdentityAgent=SSH_AUTH_SOCK":    "/usual",
		"-A -oIdentityAgent=/s":               "/s",
		"-A -oIdentityAgent=$X":               "/x",
		"-oForwardAgent=/s -oIdentityAgent=/other":  "/s",
		"-oForwardAgent=SSH_AUTH_SOCK":              "SSH_AUTH_SOCK", // a relative path, as ssh has it
		"-A -oIdentityAgent=/s -oIdentityAgent=/t ": "/s",
	} {
		a, err := Parse(split(argv + " h"))
		if err != nil {
			t.Errorf("%s: got %v, want no error", argv, err)
			continue
		}
		got, err := a.AgentPath(func(name string) string { return set[name] })
		if err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", argv, got, err, want)
		}
	}
	for _, value := range []string{"$", "$A-B", "%x/s", "/s%", "${UNSET}/s", "${X", "${}/s",
		"${A-B}"} {
		a := &Args{Agent: true, ForwardAgent: value}
		refused := (*Error)(nil)
		got, err := a.AgentPath(func(name string) string { return set[name] })
		if !errors.As(err, &refused) {
			t.Errorf("%s: got %q, %v, want an error", value, got, err)
		}
	}
}

func TestEscapeCharacter(t *testing.T) {
	for value, want := range map[string]uint32{"": '~', "none": NoEscape, "%": '%', "^]": 0x1d,
		"^a": 1, "^": '^'} {
		if got, err := (&Args{Escape: value}).EscapeCharacter(); got != want || err != nil {
			t.Errorf("%q: got %#x, %v, want %#x", value, got, err, want)
		}
	}
	for _, value := range []string{"ab", "^1", "^\xff", "^ab"} {
		if got, err := (&Args{Escape: value}).EscapeCharacter(); err == nil {
			t.Errorf("%q: got %#x, want an error", value, got)
		}
	}
}
