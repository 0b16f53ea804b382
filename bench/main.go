// Bench measures this library and Mitogen for Python side by side, in one run, and prints the table
// of docs/benchmarks.md.
//
//	go run ./bench [-runs 5] [-only WORD] [-ansible PROGRAM] [-before REVISION [-peers=false]]
//
// It installs Mitogen from PyPI into a virtual environment in the user's cache directory. The rows
// with ssh need root: they use an sshd and users of their own (internal/lab), over a link simulated
// in this process.
package main

import (
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/internal/linksim"
	"github.com/mitogen-go/mitogen/internal/modules"
)

//go:embed mitogen_driver.py driver/py sizes/main.go
var files embed.FS

const python = "/usr/bin/python3"

var (
	runs = flag.Int("runs", 5,
		"how often each measurement is repeated, alternating between the sides")
	only     = flag.String("only", "", "measure only rows that contain this")
	revision = flag.String("before", "",
		"measure an earlier `REVISION` too, and list the rows that are more than 3 % worse than it")
	peers = flag.Bool("peers", true, "measure Mitogen too, and what else rows compare with")
)

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM,
		syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second interrupt doesn't wait
	err := run(ctx)
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// bench holds the state that the rows share.
type bench struct {
	ctx    context.Context // ends at an interrupt, and with it all commands
	dir    string          // holds drivers and programs; removed at the end
	sides  []side          // in the order of their turns
	bare   string          // an interpreter that lacks packages
	lab    *lab.Lab        // nil without root
	config string          // of ssh
	worse  []string        // rows, worse than the earlier revision
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "mitogen-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{ctx: ctx, dir: dir}
	if err := b.prepare(); err != nil {
		return err
	}
	if os.Getuid() == 0 {
		if b.lab, err = lab.Use(); err != nil {
			return err
		}
		defer b.lab.Release()
		if err := b.configure(); err != nil {
			return err
		}
	} else {
		fmt.Println("Not root: no rows with ssh.")
	}
	b.conditions()
	measure := b.table
	if *ansible != "" {
		measure = b.playbooks
	}
	err = measure()
	b.verdict(err == nil)
	return err
}

// table measures all rows, also when a row fails.
func (b *bench) table() error {
	fmt.Print("\n", b.head())
	var failed []error
	for _, r := range rows {
		if !strings.Contains(r.name, *only) || r.remote && b.lab == nil {
			continue
		}
		if err := r.measure(b, r); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", r.name, err))
		}
		if b.ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failed...)
}

// prepare builds the sides and installs the peer. Rows of imports need the peer's packages,
// whichever side is measured.
func (b *bench) prepare() error {
	if err := os.CopyFS(b.dir, files); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(b.dir, "driver", "py"), filepath.Join(b.dir, "py")); err != nil {
		return err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	venv := filepath.Join(cache, "mitogen-go-bench", "venv")
	mitogen := side{name: peer, driver: []string{filepath.Join(venv, "bin", "python"),
		filepath.Join(b.dir, "mitogen_driver.py")}}
	if err := b.install(venv, mitogen.driver[0]); err != nil {
		return err
	}
	if *peers {
		b.sides = append(b.sides, mitogen)
	}
	packages, err := modules.SitePackages(venv)
	if err != nil {
		return err
	}
	os.Setenv("BENCH_PACKAGES", packages[0])
	b.bare = filepath.Join(b.dir, "bare", "bin", "python3")
	return errors.Join(b.build(), os.Chmod(b.dir, 0o755),
		b.call(python, "-m", "venv", "--without-pip", filepath.Dir(filepath.Dir(b.bare))))
}

// install makes the virtual environment that has Mitogen and the packages that are imported, if it
// is missing.
func (b *bench) install(venv, interpreter string) error {
	if b.call(interpreter, "-c", "import mitogen, django, requests") == nil {
		return nil
	}
	if err := b.call(python, "-m", "venv", venv); err != nil {
		return err
	}
	return b.call(interpreter, "-m", "pip", "install", "-q", "mitogen", "django==3.2.25",
		"requests==2.28.1")
}

// configure lets ssh know the lab's host key at whatever port a link has.
func (b *bench) configure() error {
	known, err := os.ReadFile(b.lab.KnownHosts)
	if err != nil {
		return err
	}
	_, key, _ := strings.Cut(string(known), " ")
	if err := os.WriteFile(filepath.Join(b.dir, "known_hosts"), []byte("mito-bench "+key),
		0o600); err != nil {
		return err
	}
	b.config = filepath.Join(b.dir, "ssh_config")
	return os.WriteFile(b.config,
		fmt.Appendf(nil, "Host mito\n  HostKeyAlias mito-bench\n  UserKnownHostsFile %s\n\nInclude %s\n",
			filepath.Join(b.dir, "known_hosts"), b.lab.Config), 0o600)
}

// command makes a command that an interrupt ends.
func (b *bench) command(argv ...string) *exec.Cmd {
	cmd := exec.CommandContext(b.ctx, argv[0], argv[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// call executes a command whose output only an error shows.
func (b *bench) call(argv ...string) error {
	_, err := output(b.command(argv...))
	return err
}

// output returns what a command has written to its standard output; an error has the rest, too.
func output(cmd *exec.Cmd) (string, error) {
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", strings.Join(cmd.Args, " "), err, out, stderr.String())
	}
	return string(out), nil
}

func (b *bench) conditions() {
	say := func(argv ...string) string {
		out, _ := exec.Command(argv[0], argv[1:]...).CombinedOutput()
		line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		return line
	}
	load, _ := os.ReadFile("/proc/loadavg")
	compared := ""
	for _, s := range b.sides {
		switch s.name {
		case peer:
			compared += "Mitogen " + say(s.driver[0], "-c",
				"import mitogen; print('.'.join(map(str, mitogen.__version__)))") + "; "
		case before:
			compared += "ours " + say("git", "describe", "--tags", "--always", "--dirty") + ", before " +
				*revision + "; "
		}
	}
	fmt.Printf("%s; %d cores; kernel %s; %s; target %s; %s; %sload %s; medians of %d runs, in "+
		"brackets the least and the most.\n",
		time.Now().Format("2006-01-02"), runtime.NumCPU(), say("uname", "-r"), runtime.Version(),
		say(python, "-V"), say("ssh", "-V"),
		compared, strings.Fields(string(load))[0], *runs)
}

// target returns the connection parameters that both drivers take. A nil k means no simulated link.
func (b *bench) target(kind string, k *linksim.Link) map[string]any {
	t := map[string]any{"kind": kind, "python": python}
	if k != nil {
		t["host"], t["user"], t["port"], t["ssh_config"] = "mito", lab.Free, k.Port(), b.config
	}
	return t
}

func (b *bench) link(rtt time.Duration) (*linksim.Link, error) {
	return linksim.Listen(net.JoinHostPort(b.lab.Host, strconv.Itoa(b.lab.Port)), rtt)
}
