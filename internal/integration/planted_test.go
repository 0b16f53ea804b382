package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/lab"
)

// A container whose working directory has a file for every module of the standard library, and
// whose image puts that directory on the search path, executes none of them.
func TestContainerDirectory(t *testing.T) {
	root := lab.Root(t)
	need(t, "podman")
	need(t, "crun")
	work, store := t.TempDir(), containerStore(t)
	names := strings.Fields(must(t, "/usr/bin/python3", "-Ic",
		"import sys; print(*sys.stdlib_module_names)"))
	for _, name := range append(names, "_mitogen", "mitogen", "sitecustomize", "usercustomize",
		"_winapi", "cPickle") {
		const trap = "f = open('/planted/sprung', 'a')\nf.write(__name__ + '\\n')\nraise SystemExit(1)\n"
		if err := os.WriteFile(filepath.Join(work, name+".py"), []byte(trap), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	podman := script(t, `exec unshare -m sh -c 'umount -a -t cgroup2; umount -a -t cgroup; mount -t `+
		`tmpfs t /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup; exec podman --runtime crun `+
		`--root `+store+
		`/root --runroot `+store+
		`/run --storage-driver vfs "$@"' sh "$@"`)
	for name, path := range map[string]string{"c1": "", "c2": ".::/usr/lib/python3/dist-packages:x"} {
		argv := []string{"run", "-d", "--cgroups=disabled", "--network=none", "--ulimit",
			"nofile=1024:1024",
			"--ulimit", "nproc=1024:1024", "-v", work + ":/planted", "-w", "/planted"}
		if path != "" {
			argv = append(argv, "-e", "PYTHONPATH="+path)
		}
		argv = append(argv, "--name", name, "--rootfs", root, "sleep", "120")
		if out, err := exec.Command(podman, argv...).CombinedOutput(); err != nil {
			t.Skipf("no containers here: %s", out)
		}
		t.Cleanup(func() { exec.Command(podman, "rm", "-f", "-t", "0", name).Run() })
		o := mitogen.ConnectOptions{Options: connect.Options{Programs: map[string]connect.ProgramOptions{
			"podman": {Path: podman}}}}
		e := engine(t, mitogen.Options{})
		for _, target := range []string{"podman:" + name, "local+podman:" + name + "+local"} {
			c := connected(t, e, target, o)
			if dir, err := mitogen.Call[string](t.Context(), c, "os:getcwd"); dir != "/planted" ||
				err != nil {
				t.Errorf("%s: got directory %q, %v, want /work", target, dir, err)
			}
		}
		if sprung, err := os.ReadFile(filepath.Join(work, "sprung")); err == nil {
			t.Fatalf("PYTHONPATH=%q: modules of the working directory were executed:\n%s", path, sprung)
		}
	}
	if exec.Command(podman, "exec", "c1", "python3", "-c", "import struct").Run() == nil {
		t.Error("the trap does not work: python3 -c imported nothing of it")
	}
}
