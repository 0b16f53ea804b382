package hostile_test

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/ansible"
	"github.com/mitogen-go/mitogen/internal/cli"
	"github.com/mitogen-go/mitogen/internal/hostile"
	"github.com/mitogen-go/mitogen/internal/lab"
)

// asCommand has this test's executable be the mitogen command.
const asCommand = "MITOGEN_HOSTILE_COMMAND"

func TestMain(m *testing.M) {
	// The plugin starts this executable as a daemon.
	if os.Getenv(asCommand) != "" || len(os.Args) > 1 && os.Args[1] == "daemon" {
		streams := cli.Streams{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
		os.Exit(cli.Main(cli.Interruptible(os.Exit), os.Args[1:], streams))
	}
	os.Exit(lab.Main(m))
}

// releases returns the ansible-playbook of the oldest release, and of all if the long forms of the
// tests are wanted.
func releases(t *testing.T) []string {
	t.Helper()
	list := strings.Fields(os.Getenv("MITOGEN_ANSIBLE"))
	if len(list) == 0 {
		path, err := exec.LookPath("ansible-playbook")
		if err != nil {
			t.Skip("there is no ansible-playbook")
		}
		list = []string{path}
	}
	if !hostile.Long() {
		return list[:1]
	}
	return list
}

// release returns the number of a program's release.
func release(t *testing.T, program string) string {
	t.Helper()
	out, err := exec.Command(program, "--version").Output()
	m := regexp.MustCompile(`core (\d+\.\d+)`).FindSubmatch(out)
	if err != nil || m == nil {
		t.Fatalf("release of %s: got error %v, output %s; want a version", program, err, out)
	}
	return string(m[1])
}

// playbook returns a command of Ansible that uses the plugins of dir/plugins, without any runtime
// directory of this environment.
func playbook(t *testing.T, ctx context.Context, program, dir, config string,
	args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	plugin, callback, err := ansible.Unpack(filepath.Join(dir, "plugins"), exe)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ansible.cfg"), []byte("[defaults]\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	here, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	args = append([]string{"-e", "ansible_ssh_common_args='-F " + config + "'",
		"-e", "ansible_python_interpreter=/usr/bin/python3"}, args...)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = here
	record := filepath.Join(here, "../../ansible/testdata/callback")
	cmd.Env = append(plainEnviron(),
		"ANSIBLE_HOME="+filepath.Join(dir, "home"), "ANSIBLE_LOCAL_TEMP="+filepath.Join(dir, "tmp"),
		"ANSIBLE_CONFIG="+filepath.Join(dir, "ansible.cfg"),
		"ANSIBLE_LIBRARY="+filepath.Join(here, "library"),
		"ANSIBLE_CONNECTION_PLUGINS="+plugin, "ANSIBLE_TRANSPORT=mitogen",
		"ANSIBLE_CALLBACK_PLUGINS="+record+":"+callback, "ANSIBLE_CALLBACKS_ENABLED=record,mitogen",
		"MITOGEN_RECORD="+filepath.Join(dir, "record"),
		"ANSIBLE_SSH_ARGS=-C", "ANSIBLE_PIPELINING=1", "ANSIBLE_TIMEOUT=20", "LC_ALL=C.UTF-8",
		"ANSIBLE_NOCOWS=1", "ANSIBLE_NOCOLOR=1", "ANSIBLE_DEPRECATION_WARNINGS=0")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// plainEnviron returns this process's environment without what says where sockets are.
func plainEnviron() (env []string) {
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if !slices.Contains([]string{"XDG_RUNTIME_DIR", "MITOGEN_SOCKET", "MITOGEN_ANSIBLE"}, name) {
			env = append(env, v)
		}
	}
	return env
}

// result is the outcome of a task.
type result struct {
	Task, Host, What string
	Value            map[string]any
}

// recorded returns the results of a playbook that was run with dir.
func recorded(t *testing.T, dir string) (all []result) {
	t.Helper()
	name := filepath.Join(dir, "record")
	f, err := os.Open(name)
	if err != nil {
		return nil
	}
	defer os.Remove(name)
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var r result
		if err := json.Unmarshal(lines.Bytes(), &[]any{&r.Task, &r.Host, &r.What, &r.Value}); err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}
