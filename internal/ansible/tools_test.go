package ansible_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/internal/testpython"
)

// tool is a program that runs tasks by Ansible.
type tool struct {
	name    string
	command string            // of a shell, in a directory with the files
	files   map[string]string // besides those of every tool
	user    string            // who runs the tasks
}

var tools = []tool{
	{name: "ansible", command: `ansible all -m shell -a "$(cat task)"`, user: lab.Play},
	{name: "ansible-console", command: `{ echo shell $(cat task); echo exit; } | ansible-console all`,
		user: lab.Play},
	{name: "ansible-pull", user: "root", command: `git init -q repo && cp book.yml repo/local.yml &&
git -C repo add . && git -C repo -c user.name=x -c user.email=x@x.invalid commit -q -m x &&
ansible-pull -i "$PWD/here" -U "file://$PWD/repo" -d "$PWD/clone"`,
		files: map[string]string{"here": "localhost ansible_connection=mitogen mitogen_target=local " +
			python3 + "\n"}},
	{name: "ansible-runner", user: lab.Play,
		command: `mkdir -p private/project private/inventory && cp book.yml private/project &&
cp inventory private/inventory/hosts && ansible-runner run private -p book.yml`},
	{name: "ansible-navigator", user: lab.Play,
		command: `ansible-navigator run book.yml -i inventory --mode stdout \
--execution-environment false --playbook-artifact-enable false --log-file "$PWD/log"`},
	{name: "molecule", user: lab.Play,
		command: `mkdir -p molecule/default && cp book.yml molecule/default/converge.yml &&
cp molecule.yml molecule/default && molecule converge`,
		files: map[string]string{"molecule.yml": "prerun: false\ndriver: {name: default, options: " +
			"{managed: false}}\n" +
			"platforms: [{name: " + lab.Play + "}]\nprovisioner:\n  name: ansible\n" +
			"  inventory: {links: {hosts: ../../inventory}}\n"}},
}

// whoRuns is a command that says who executes it and, as a module is a fork of a context and has
// its name, that this is so.
const whoRuns = `echo runs:$(id -un):$(head -c 8 /proc/$PPID/cmdline)`

// Programs that use Ansible have their tasks run by the plugin. The test runs a random one; `make
// test-ansible` runs all.
func TestTools(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	chosen := tools
	if !everything() {
		n := testpython.Draw(t.Name()).IntN(len(tools))
		chosen = tools[n : n+1]
	}
	for _, tool := range chosen {
		t.Run(tool.name, func(t *testing.T) {
			s := newStage(t, playbooks(t)[0])
			programs := filepath.Dir(s.playbook)
			if _, err := os.Stat(filepath.Join(programs, tool.name)); err != nil {
				programs = filepath.Dir(os.Getenv("MITOGEN_ANSIBLE_TOOLS"))
			}
			if _, err := os.Stat(filepath.Join(programs, tool.name)); err != nil {
				t.Skipf("%s isn't beside ansible-playbook, nor beside MITOGEN_ANSIBLE_TOOLS: "+
					"see scripts/ansible-releases.sh tools", tool.name)
			}
			out := s.use(tool, programs)
			if want := "runs:" + tool.user + ":mitogen:"; !strings.Contains(out, want) {
				t.Errorf("%s: got no %q:\n%s", tool.command, want, last(out))
			}
			s.quiet(nil)
		})
	}
}

// use runs a tool and returns what it prints.
func (s *stage) use(tool tool, programs string) string {
	s.t.Helper()
	dir := s.t.TempDir()
	files := map[string]string{
		"task": whoRuns,
		"book.yml": "- hosts: all\n  gather_facts: false\n  tasks:\n  - shell: " + whoRuns +
			"\n    register: r\n  - debug: {msg: '{{ r.stdout }}'}\n",
		"inventory": lab.Play + " ansible_connection=mitogen " + python3 +
			" ansible_ssh_common_args='-F " + s.l.Config + "'\n",
	}
	for _, all := range []map[string]string{files, tool.files} {
		for name, text := range all {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", tool.command)
	cmd.Dir = dir
	cmd.Env = append(s.environ("mitogen"), "PATH="+programs+":"+os.Getenv("PATH"), "HOME="+dir,
		"ANSIBLE_INVENTORY="+filepath.Join(dir, "inventory"))
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Errorf("run %s: got %v, want success", tool.name, err)
	}
	return string(out)
}
