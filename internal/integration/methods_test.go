package integration

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/internal/testpython"
	"github.com/mitogen-go/mitogen/secret"
)

// su and doas in a hop, which types the password.
func TestBecomeInHops(t *testing.T) {
	l := lab.Need(t)
	password := secret.Secret(l.Password)
	options := mitogen.ConnectOptions{Options: connect.Options{Su: connect.SuOptions{
		Password: password},
		Doas: connect.DoasOptions{Password: password}}}
	wrong := mitogen.ConnectOptions{Options: connect.Options{Su: connect.SuOptions{Password: "wrong"},
		Doas: connect.DoasOptions{Password: "wrong"}}}
	targets := []string{"sudo:" + lab.Free + "+su:" + lab.Pass,
		"sudo:" + lab.Free + "+su:" + lab.Pass + "+su:" + lab.None + "+local"}
	if lab.HasDoas() {
		targets = append(targets, "sudo:"+lab.Pass+"+doas",
			"sudo:"+lab.Free+"+su:"+lab.Pass+"+doas:"+lab.None)
	}
	for _, target := range targets {
		t.Run(target, func(t *testing.T) {
			t.Parallel()
			e := engine(t, mitogen.Options{})
			c, err := e.Start(target, options)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := mitogen.Call[int](t.Context(), c, "here:uid"); err != nil {
				t.Error(err)
			}
			if strings.Count(target, "+") > 1 {
				return
			}
			_, err = e.Connect(t.Context(), target, wrong)
			if !errors.Is(err, connect.ErrAuth) || strings.Contains(err.Error(), l.Password) {
				t.Error(err)
			}
		})
	}
}

// script writes a program and returns its path.
func script(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

// need skips a test where a program is missing.
func need(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skip(err)
	}
}

// must runs a command of the set-up.
func must(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("run %q: %v; output: %s", argv, err, out)
	}
	return strings.TrimSpace(string(out))
}

// enter calls a function at target, directly and behind a hop, and returns what ended the first
// that failed.
func enter(t *testing.T, target string, o mitogen.ConnectOptions) (uid int, etc string, err error) {
	t.Helper()
	for _, way := range []string{target, "local+" + target} {
		e := engine(t, mitogen.Options{})
		c, err := e.Start(way, o)
		if err != nil {
			t.Fatal(err)
		}
		if uid, err = mitogen.Call[int](t.Context(), c, "here:uid"); err != nil {
			return 0, "", fmt.Errorf("%s: %w", way, err)
		}
		if etc, err = mitogen.Call[string](t.Context(), c, "os:readlink",
			"/etc/mitogen-lab-root"); err != nil {
			return uid, "", fmt.Errorf("%s: %w", way, err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
	return uid, etc, nil
}

// entered checks that targets lead into the root filesystem, as the user that each is to have.
func entered(t *testing.T, root string, o mitogen.ConnectOptions, uids map[string]int) {
	t.Helper()
	mark := filepath.Join(root, "etc/mitogen-lab-root")
	if _, err := os.Lstat(mark); err != nil {
		if err := os.Symlink("here", mark); err != nil {
			t.Fatal(err)
		}
	}
	for target, want := range uids {
		if uid, etc, err := enter(t, target, o); uid != want || etc != "here" || err != nil {
			t.Errorf("%s: uid %d, %q, %v", target, uid, etc, err)
		}
	}
}

// refused checks how targets fail.
func refused(t *testing.T, o mitogen.ConnectOptions, kinds map[string]error) {
	t.Helper()
	for target, want := range kinds {
		if _, _, err := enter(t, target, o); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", target, err, want)
		}
	}
}

func TestChroot(t *testing.T) {
	root := lab.Root(t)
	entered(t, root, mitogen.ConnectOptions{},
		map[string]int{"chroot:" + root: 0, "chroot:nobody@" + root: 65534})
	empty := t.TempDir()
	refused(t, mitogen.ConnectOptions{}, map[string]error{
		"chroot:/no/such/place":         connect.ErrNotFound,
		"chroot:" + empty:               connect.ErrNoShell,
		"chroot:mito-nobody@" + root:    connect.ErrUnknownUser,
		"su:nobody+chroot:" + root:      connect.ErrNotPermitted, // an account that has no shell
		"sudo:nobody+chroot:" + root:    connect.ErrNotPermitted,
		"chroot:" + root + "+chroot:/x": connect.ErrNotFound,
	})
}

// nspawn wants /run to be a file system in RAM, and the test has no systemd to register with.
func TestNspawn(t *testing.T) {
	root := lab.Root(t)
	need(t, "systemd-nspawn")
	o := mitogen.ConnectOptions{Options: connect.Options{Programs: map[string]connect.ProgramOptions{
		"nspawn": {
			Path: script(t, `exec unshare -m sh -c 'mount -t tmpfs t /run && exec systemd-nspawn "$@"' sh `+
				`"$@"`),
			Args: []string{"--register=no", "--keep-unit"},
		}}}}
	entered(t, root, o, map[string]int{"nspawn:" + root: 0, "nspawn:nobody@" + root: 65534})
}

// A process's namespaces, of which unshare makes new ones.
func TestSetns(t *testing.T) {
	root := lab.Root(t)
	need(t, "unshare")
	cmd := exec.Command("unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--root="+root,
		"sh", "-c", "echo; sleep 60")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	out.Read(make([]byte, 1))
	children := must(t, "pgrep", "-P", fmt.Sprint(cmd.Process.Pid))
	t.Cleanup(func() { exec.Command("kill", "-9", children).Run() })
	o := mitogen.ConnectOptions{Options: connect.Options{Programs: map[string]connect.ProgramOptions{
		"setns": {Args: []string{"--root"}}}}}
	entered(t, root, o, map[string]int{"setns:" + children: 0})
	refused(t, o, map[string]error{"setns:99999999": connect.ErrNotFound})
}

// unifiedCgroups begins a shell command that is executed where only control groups of version 2 are
// mounted: the machine's mixed ones must not be seen.
const unifiedCgroups = `exec unshare -m sh -c 'umount -a -t cgroup2; umount -a -t cgroup; mount ` +
	`-t tmpfs t /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup; exec `

// lxc returns the programs of lxc, as they work here, and the line that the container's
// configuration has for it.
func lxc(t *testing.T) (program func(name string) string, line string) {
	if version := must(t, "lxc-start", "--version"); version[0] < '6' && version[1] == '.' {
		// none; lxc 6 doesn't know that
		return func(name string) string { return name }, "lxc.cgroup.use =\n"
	}
	return func(name string) string { return script(t, unifiedCgroups+name+` "$@"' sh "$@"`) }, ""
}

// A classic container, which needs no daemon.
func TestLXC(t *testing.T) {
	root := lab.Root(t)
	need(t, "lxc-start")
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "c1"), 0o755); err != nil {
		t.Fatal(err)
	}
	program, config := lxc(t)
	config += "lxc.rootfs.path = dir:" + root +
		"\nlxc.uts.name = c1\nlxc.net.0.type = none\nlxc.apparmor.profile = unconfined\n"
	if err := os.WriteFile(filepath.Join(dir, "c1/config"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "log")
	start := exec.Command(program("lxc-start"), "-P", dir, "-n", "c1", "-d", "-o", log, "--",
		"/bin/sleep", "120")
	if out, err := start.CombinedOutput(); err != nil {
		text, _ := os.ReadFile(log)
		t.Fatalf("lxc-start: %v: %s%s", err, out, text)
	}
	t.Cleanup(func() { exec.Command("lxc-stop", "-P", dir, "-n", "c1", "-k").Run() })
	o := mitogen.ConnectOptions{Options: connect.Options{Programs: map[string]connect.ProgramOptions{
		"lxc": {Path: program("lxc-attach"), Args: []string{"--lxcpath=" + dir}}}}}
	entered(t, root, o, map[string]int{"lxc:c1": 0, "lxc:1000@c1": 1000})
	refused(t, o, map[string]error{"lxc:c2": connect.ErrNotFound})
	pid := must(t, "lxc-info", "-P", dir, "-n", "c1", "-p", "-H")
	entered(t, root, mitogen.ConnectOptions{}, map[string]int{"setns:" + pid: 0})
}

// containerStore is a directory for containers, which is removed once the processes have ended that
// podman leaves behind to clean up after a container: they would make it anew.
func containerStore(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "containers")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 300 {
			if !named(dir) && os.RemoveAll(dir) == nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Errorf("%s is still in use", dir)
	})
	return dir
}

// named tells whether a process has dir in its arguments.
func named(dir string) bool {
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	return slices.ContainsFunc(all, func(name string) bool {
		argv, err := os.ReadFile(name)
		return err == nil && bytes.Contains(argv, []byte(dir))
	})
}

// podman, where the machine's mixed control groups must not be seen: a container of the tree, one
// of an image, and buildah's; what takes an image, which is made of a copy of the tree, is tried on
// one day in three.
func TestPodman(t *testing.T) {
	root := lab.Root(t)
	need(t, "podman")
	need(t, "crun")
	dir := containerStore(t)
	store := " --root " + dir + "/root --runroot " + dir + "/run --storage-driver vfs "
	limits := " --cgroups=disabled --network=none --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 "
	podman := script(t, unifiedCgroups+"podman --runtime crun"+store+`"$@"' sh "$@"`)
	run := script(t, `c=$1; shift; exec `+podman+` $c`+limits+`"$@"`)
	if out, err := exec.Command(run, "run", "-d", "--name", "c1", "--rootfs", root, "sleep",
		"120").CombinedOutput(); err != nil {
		t.Skipf("no containers here: %s", out)
	}
	t.Cleanup(func() { exec.Command(podman, "rm", "-f", "-t", "0", "c1").Run() })
	o := mitogen.ConnectOptions{Options: connect.Options{Programs: map[string]connect.ProgramOptions{
		"podman":     {Path: podman},
		"podman-run": {Path: run},
		"buildah":    {Path: script(t, "c=$1; shift; exec buildah"+store+`$c --isolation chroot "$@"`)}}}}
	entered(t, root, o, map[string]int{"podman:c1": 0, "podman:nobody@c1": 65534})
	refused(t, o, map[string]error{"podman:c2": connect.ErrNotFound,
		"podman:mito-nobody@c1": connect.ErrUnknownUser})
	if !testpython.All() && testpython.Draw(t.Name()).IntN(3) > 0 {
		must(t, podman, "stop", "-t", "0", "c1")
		refused(t, o, map[string]error{"podman:c1": connect.ErrNotRunning})
		return
	}

	must(t, "sh", "-c", "tar -C "+root+" -c . | "+podman+" import - lab")
	entered(t, root, o, map[string]int{"podman-run:localhost/lab:latest": 0})
	for range 50 { // the last moves of a container that is being removed
		if must(t, podman, "ps", "-a", "-q") == must(t, podman, "ps", "-q") {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if left := strings.Fields(must(t, podman, "ps", "-a", "-q")); len(left) != 1 {
		t.Errorf("%d containers, want the one that was there", len(left))
	}

	must(t, podman, "stop", "-t", "0", "c1")
	refused(t, o, map[string]error{"podman:c1": connect.ErrNotRunning})
	if _, err := exec.LookPath("buildah"); err == nil {
		must(t, "sh", "-c", "buildah"+store+"from --name work --pull-never localhost/lab:latest")
		entered(t, root, o, map[string]int{"buildah:work": 0})
	}
}

// Those that can't run here, with a stand-in for their programs that checks the arguments up to the
// command, and executes it.
func TestStandIns(t *testing.T) {
	for target, want := range map[string]string{
		"docker:www@app":          "exec --interactive --user www app",
		"docker-run:img:1":        "run --interactive --rm --log-driver none --entrypoint  img:1",
		"kubectl:k@ns/pod/c":      "--context k --namespace ns exec --stdin --quiet pod --container c --",
		"lxd:c1":                  "exec c1 --mode non-interactive --",
		"incus:1000@c1":           "exec c1 --mode non-interactive --user 1000 --",
		"jail:www@j1":             "-U www j1",
		"machinectl:m1":           "--quiet shell root@m1",
		"exec:env PROGRAM a b sh": "a b sh -c exec \"$@\" sh",
	} {
		t.Run(target, func(t *testing.T) {
			program := script(t, `seen=
for word; do
    case $word in sh|/usr/bin/env) [ "$seen" = "$WANT" ] && exec "$@";; esac
    [ "$word" = sh ] && [ "$seen $word" = "$WANT" ] && { shift; exec "$@"; }
    seen="${seen:+$seen }$word"
    shift
done
echo "unexpected arguments: $seen, want $WANT" >&2
exit 64`)
			t.Setenv("WANT", want)
			o := mitogen.ConnectOptions{}
			o.Programs = map[string]connect.ProgramOptions{}
			method, _, _ := strings.Cut(target, ":")
			o.Programs[method] = connect.ProgramOptions{Path: program}
			target = strings.ReplaceAll(target, "PROGRAM", program)
			for _, way := range []string{target, "local+" + target} {
				e := engine(t, mitogen.Options{})
				c := connected(t, e, way, o)
				if pid, err := mitogen.Call[int](t.Context(), c, "os:getpid"); err != nil || pid == 0 {
					t.Error(pid, err)
				}
			}
		})
	}
}
