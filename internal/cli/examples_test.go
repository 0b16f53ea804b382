package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/mitogen-go/mitogen/internal/demo"
)

// An example is a command that a document or a help text shows.
type example struct {
	where string // file, or command
	line  string
	whole bool // a line of its own, not a mention in a sentence
}

var (
	// command matches a command in a line or a mention, perhaps behind a pipe.
	commandWord = regexp.MustCompile(`(?:^|\| )(?:bin/)?mitogen(?: |$)`)
	mention     = regexp.MustCompile("`([^`]+)`")

	// placeholder matches a word that a reader replaces.
	placeholder = regexp.MustCompile(`…|\.\.\.|(?:^| )(?:-t )?(?:TARGET|SCRIPT|FILE|COMMAND|PID|` +
		`METHOD|NAME)\b`)

	// remark matches the text that a document has behind a command.
	remark = regexp.MustCompile(`\s{2,}# .*$`)
)

// shownExamples returns all that README, docs and help show.
func shownExamples(t *testing.T) (all []example) {
	t.Helper()
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("../../docs/*/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(append(files, more...), "../../README.md", "../../SECURITY.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, examplesIn(filepath.Base(file), string(text))...)
	}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		for line := range strings.Lines(c.Example) {
			all = append(all, example{"help of " + c.CommandPath(), strings.TrimSpace(line), true})
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot(newState(Streams{os.Stdin, io.Discard, io.Discard})))
	return all
}

// examplesIn returns those of a document: lines of code, and mentions of commands.
func examplesIn(file, text string) (all []example) {
	fenced := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
			continue
		}
		code := strings.TrimSpace(remark.ReplaceAllString(strings.TrimRight(line, "\n"), ""))
		if fenced || strings.HasPrefix(line, "    ") {
			if commandWord.MatchString(code) {
				all = append(all, example{file, code, true})
			}
			continue
		}
		for _, m := range mention.FindAllStringSubmatch(line, -1) {
			if strings.HasPrefix(m[1], "mitogen ") {
				all = append(all, example{file, m[1], false})
			}
		}
	}
	return all
}

const untilInterrupted = "goes on until it is interrupted: integration.TestForwardClients"

const takesGo = "takes minutes of a compiler: TestScripts/build has a stand-in for it"

// Examples that aren't executed, and why.
var notExecuted = map[string]string{
	"mitogen build linux/arm64":                                               takesGo,
	"mitogen build -o agents linux/amd64 linux/arm64":                         takesGo,
	"mitogen build --package ./cmd/app -o binaries linux/arm64 freebsd/amd64": takesGo,
	"mitogen exec -A -t router --binaries agents -- uname -m":                 "as above",
	"mitogen python":                       "needs what make build appends: internal/pyfront has it",
	"mitogen python -m fleet.report":       "as above",
	"mitogen python hello.py":              "as above",
	"mitogen python deploy.py --hosts web": "as above",
	"mitogen exec -t web1+sudo -t web2+sudo -- systemctl restart nginx": "would change " +
		"this machine",
	"mitogen exec -A -t web1+sudo:deploy -- git pull": "needs an agent and a repository: " +
		"integration.TestAgentForwarding",
	"mitogen run -t bastion+web1+sudo --become-password fix.py < data": "asks on the terminal: " +
		"tty_linux_test.go has it",
	"mitogen forward -t bastion+db1 5432":                                   untilInterrupted,
	"mitogen forward -t web1+docker:app 8080:80":                            untilInterrupted,
	"mitogen forward -t web1 -L 5432:db.internal:5432 -D 1080":              untilInterrupted,
	"mitogen forward -t web1+sudo -L /tmp/docker.sock:/var/run/docker.sock": untilInterrupted,
	"mitogen forward -t web1 -R 8000:localhost:8000":                        untilInterrupted,
	"mitogen forward -t web1 -W db.internal:5432":                           untilInterrupted,
	"mitogen shell -t web1+sudo:postgres -- psql": "needs a database: " +
		"TestShellWithoutTerminal runs commands",
	"mitogen ping -t bastion+web1+sudo --password-of bastion=ask --password-of " +
		"sudo=file:$HOME/secret": "asks on the terminal",

	"mitogen serve-ssh -t web1+sudo":                               "goes on: TestScripts has it",
	"mitogen serve-ssh -t web1+sudo --include ~/.ssh/mitogen.conf": "as above",
	"mitogen serve-ssh -t web1 --listen 127.0.0.1:2222":            "as above",
	"mitogen run -t serial:root@/dev/ttyUSB0,9600 check.py": "needs a console: " +
		"serial.TestGetty",
	"mitogen shell -t console:127.0.0.1:2001": "needs a console: " +
		"serial.TestSockets",
	"mitogen doctor -t console:root@/run/qemu/vm1.sock": "needs a console: serial.TestSockets",
	"mitogen exec -t ipmi:root@bmc7 --program-arg ipmi=-f --program-arg ipmi=$HOME/bmc -- " +
		"ip addr": "needs a BMC: serial.TestPrograms has a stand-in",
}

// What an example prints, where more is known than that it prints something.
var printed = map[string]string{
	"mitogen with -t db=bastion+web1+sudo:postgres -- ssh db id -un": `^postgres\n$`,
	"mitogen with -t web1 -t web2 -- sh -c 'scp -q data web1:/srv/ && scp -q data " +
		"web2:/srv/'": `^$`,

	"mitogen call -t web1 os:getpid":                       `^\d+\n$`,
	`mitogen call -t web1 os.path:join '"/etc"' '"hosts"'`: `^"/etc/hosts"\n$`,
	`mitogen call -t web1 -t web2 facts.py:collect '["disk", "net"]' depth=2`: `^(web[12]: ` +
		`\{"disk":2,"net":2\}\n){2}$`,
	`mitogen call -t web1+sudo --json shutil:disk_usage '"/"'`: `"result":\{"total":\d+,` +
		`"used":\d+,"free":\d+\}`,
	"mitogen call -t web1 os:getloadavg": `^\[[0-9.]+,[0-9.]+,` +
		`[0-9.]+\]\n$`,
	"bin/mitogen call -t web1 os:getloadavg": `^\[[0-9.]+,[0-9.]+,` +
		`[0-9.]+\]\n$`,
	"mitogen call -i inventory/ --json os:getloadavg": `^\{"host":"web1",` +
		`"result":\[[0-9.]+,`,
	"tar c site | mitogen exec -t web1 -- tar x -C /srv":              `^$`,
	"mitogen ansible config >> ansible.cfg":                           `^$`,
	"mitogen with -t web1+sudo -- rsync -a site/ web1:/srv/site/":     `^$`,
	"bin/mitogen with -t web1+sudo -- rsync -a site/ web1:/srv/site/": `^$`,
	"mitogen with -t web1 -- scp -q data web1:/srv/":                  `^$`,
	// it has no input
	"mitogen shell -t bastion+web1+sudo":                                       `^$`,
	"mitogen repl -t web1":                                                     `^$`, // as above
	"mitogen repl -t bastion+web1+sudo --path .":                               `^$`,
	"bin/mitogen shell -t web1+sudo":                                           `^$`,
	"mitogen shell -t web1+sudo < commands":                                    `^root\n$`,
	"mitogen with -t db=web1+sudo -- ssh db id -un":                            `^root\n$`,
	"mitogen run -t local -m platform":                                         `^Linux|^[A-Z]`,
	`mitogen run -t web1 -c 'import os; print(os.uname())'`:                    `sysname=`,
	`mitogen exec -t local --env LANG=C --dir /tmp -- sh -c 'echo $LANG; pwd'`: `^C\n/tmp\n$`,

	// Its scp is quiet.
	`mitogen serve-ssh -t web1+sudo -- sh -c 'scp -F $MITOGEN_SSH_CONFIG -q data web1:/srv/'`: `^$`,
}

// exampleFiles has the files that the examples name.
var exampleFiles = map[string]string{
	"check.py":        "import sys\nprint('checked', sys.argv[1:])\n",
	"fix.py":          "import sys\nprint(len(sys.stdin.read()))\n",
	"facts.py":        "def collect(what, depth):\n    return dict((w, depth) for w in what)\n",
	"data":            "data\n",
	"commands":        "id -un\n",
	"hosts":           "[web]\nweb1\nold\n",
	"inventory/hosts": "web1\n",
	"site/index.html": "<p>\n",
	"srv/.keep":       "",
	"secret":          "none\n",
	"tools/some-list": "#!/bin/sh\necho web1\n",
	"tools/pass":      "#!/bin/sh\necho none\n",
}

// TestExamples executes each command that README, docs and help show, with hosts of those names
// that are all this machine, or finds it in notExecuted. What is only named must exist.
func TestExamples(t *testing.T) {
	server, err := demo.Serve(demo.ServerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	all := shownExamples(t)
	var left []string
	for line := range notExecuted {
		left = append(left, line)
	}
	for line := range printed {
		left = append(left, line)
	}
	seen := map[string]bool{}
	executed := 0
	t.Run("each", func(t *testing.T) {
		for _, e := range all {
			left = slices.DeleteFunc(left, func(line string) bool { return line == e.line })
			if seen[e.line] || notExecuted[e.line] != "" ||
				testing.Short() && !strings.Contains(e.line, "call") {
				continue
			}
			seen[e.line] = true
			name, line := e.line, e.line
			if !e.whole && !hasTarget(line) || placeholder.MatchString(line) {
				if line = helpFor(line); line == "" {
					t.Errorf("%s: %s is neither executed nor a command's name", e.where, e.line)
					continue
				}
			} else {
				executed++
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				runExample(t, server, e.where, line)
			})
		}
	})
	if len(left) > 0 {
		t.Errorf("the tables have what is shown nowhere: %q", left)
	}
	if executed < 25 && !testing.Short() {
		t.Errorf("%d of %d examples were executed, want most", executed, len(all))
	}
}

func hasTarget(line string) bool {
	return strings.Contains(line, " -t ") || strings.Contains(line, " -i ")
}

// commandName is the beginning of a command that says what it does.
var commandName = regexp.MustCompile(`^mitogen ([a-z]+(?: [a-z]+)?)`)

// helpFor is a command that fails if the one in line does not exist.
func helpFor(line string) string {
	m := commandName.FindStringSubmatch(line)
	if m == nil {
		return line
	}
	if strings.HasPrefix(m[1], "help") {
		return strings.TrimSuffix(m[0], " ")
	}
	return "mitogen " + m[1] + " --help"
}

func runExample(t *testing.T, server *demo.Server, where, line string) {
	if strings.Contains(line, "+sudo") && exec.Command("sudo", "-n", "true").Run() != nil {
		t.Skip("sudo asks for a password here, or isn't here")
	}
	dir := exampleDir(t, server)
	env := append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir,
		"XDG_RUNTIME_DIR="+dir,
		"MITOGEN_PATH=", "MITOGEN_CONFIG="+filepath.Join(dir, "config.yml"),
		"PATH="+filepath.Join(dir, "tools")+":"+os.Getenv("PATH"))
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	shell := func(line string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, "sh", "-c", line)
		cmd.Dir, cmd.Env = dir, env
		cmd.WaitDelay = time.Second // a child of the shell may have its output
		return cmd
	}
	if strings.Contains(strings.ToLower(line), "daemon") {
		defer func() { shell("mitogen daemon stop").Run() }()
	}
	// the server is this machine
	cmd := shell(strings.NewReplacer(" /srv", " "+dir+"/srv", ":/srv", ":"+dir+"/srv").Replace(line))
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: run %s: %v; output:\n%s%s", where, line, err, stdout.String(), stderr.String())
	}
	want := cmp.Or(printed[line], `.`)
	if !regexp.MustCompile(want).MatchString(stdout.String()) {
		t.Errorf("%s: %s: printed %q, want %s\n%s", where, line, stdout.String(), want, stderr.String())
	}
}

// exampleDir returns a directory that has what examples name.
func exampleDir(t *testing.T, server *demo.Server) string {
	t.Helper()
	dir := t.TempDir()
	own, err := os.ReadFile(server.Config)
	if err != nil {
		t.Fatal(err)
	}
	hosts := strings.Replace(string(own), "Host "+demo.Host+"\n", "Host bastion web1 web2 web3 old\n",
		1)
	if hosts == string(own) {
		t.Fatalf("no host in %q", own)
	}
	files := map[string]string{
		"ssh_config": hosts,
		"config.yml": fmt.Sprintf("ssh-config: %s\n", filepath.Join(dir, "ssh_config")),
	}
	for name, text := range exampleFiles {
		files[name] = text
	}
	for name, text := range files {
		mode := os.FileMode(0o600)
		if filepath.Dir(name) == "tools" {
			mode = 0o700
		}
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	mitogen, err := exec.LookPath("mitogen") // this test program: see TestMain
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(mitogen, filepath.Join(dir, "bin", "mitogen")); err != nil {
		t.Fatal(err)
	}
	return dir
}
