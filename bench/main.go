// Bench measures this library and Mitogen for Python side by side, in one run, and prints the table of docs/benchmarks.md.
//
//	go run ./bench [-runs 5] [-only WORD] [-ansible PROGRAM]
//
// It installs Mitogen from PyPI into a virtual environment in the user's cache directory. The rows with ssh need root:
// they use an sshd and users of their own (internal/lab), over a link simulated in this process.
package main

import (
	"bufio"
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/internal/linksim"
	"github.com/mitogen-go/mitogen/internal/modules"
)

//go:embed mitogen_driver.py driver/py
var files embed.FS

const python = "/usr/bin/python3"

var (
	runs = flag.Int("runs", 5, "how often each measurement is repeated, alternating between the two")
	only = flag.String("only", "", "measure only rows that contain this")
)

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// bench is what the rows share.
type bench struct {
	dir     string // of the drivers
	ours    []string
	mitogen []string
	bare    string   // an interpreter that lacks packages
	lab     *lab.Lab // nil without root
	config  string   // of ssh
}

func run() error {
	dir, err := os.MkdirTemp("", "mitogen-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{dir: dir}
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
	if *ansible != "" {
		return b.playbooks()
	}
	fmt.Println("\n| figure | Mitogen | ours | ratio | needed |\n|---|---:|---:|---:|---|")
	fmt.Printf("| command / head and image, bytes | 838 / 19,108 | %d / %d | | ≤ 400 / ≤ 7 KiB, 9 with a reason |\n",
		len(strings.Join(boot.Command(nil, boot.Ahead), " "))+8, len(boot.Head(boot.Config{Name: "web1+sudo"}, 9999))+len(boot.Image()))
	for _, r := range rows {
		if !strings.Contains(r.name, *only) || r.remote && b.lab == nil {
			continue
		}
		if err := r.measure(b, r); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	return nil
}

// prepare builds our driver and installs the peer.
func (b *bench) prepare() error {
	if err := os.CopyFS(b.dir, files); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(b.dir, "driver", "py"), filepath.Join(b.dir, "py")); err != nil {
		return err
	}
	b.ours = []string{filepath.Join(b.dir, "ours")}
	if err := command("go", "build", "-o", b.ours[0], "./bench/driver"); err != nil {
		return err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	venv := filepath.Join(cache, "mitogen-go-bench", "venv")
	venvPython := filepath.Join(venv, "bin", "python")
	if command(venvPython, "-c", "import mitogen, django, requests") != nil {
		if err := command(python, "-m", "venv", venv); err != nil {
			return err
		}
		if err := command(venvPython, "-m", "pip", "install", "-q", "mitogen", "django==3.2.25", "requests==2.28.1"); err != nil {
			return err
		}
	}
	b.mitogen = []string{venvPython, filepath.Join(b.dir, "mitogen_driver.py")}
	packages, err := modules.SitePackages(venv)
	if err != nil {
		return err
	}
	os.Setenv("BENCH_PACKAGES", packages[0])
	b.bare = filepath.Join(b.dir, "bare", "bin", "python3")
	return errors.Join(os.Chmod(b.dir, 0o755), command(python, "-m", "venv", "--without-pip", filepath.Dir(filepath.Dir(b.bare))))
}

// configure lets ssh know the lab's host key at whatever port a link has.
func (b *bench) configure() error {
	known, err := os.ReadFile(b.lab.KnownHosts)
	if err != nil {
		return err
	}
	_, key, _ := strings.Cut(string(known), " ")
	if err := os.WriteFile(filepath.Join(b.dir, "known_hosts"), []byte("mito-bench "+key), 0o600); err != nil {
		return err
	}
	b.config = filepath.Join(b.dir, "ssh_config")
	return os.WriteFile(b.config, fmt.Appendf(nil, "Host mito\n  HostKeyAlias mito-bench\n  UserKnownHostsFile %s\n\nInclude %s\n",
		filepath.Join(b.dir, "known_hosts"), b.lab.Config), 0o600)
}

func command(argv ...string) error {
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, out)
	}
	return nil
}

func (b *bench) conditions() {
	say := func(argv ...string) string {
		out, _ := exec.Command(argv[0], argv[1:]...).CombinedOutput()
		line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		return line
	}
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Printf("%s; %d cores; kernel %s; %s; target %s; %s; Mitogen %s; load %s; medians of %d runs, in brackets the least and the most.\n",
		time.Now().Format("2006-01-02"), runtime.NumCPU(), say("uname", "-r"), runtime.Version(), say(python, "-V"), say("ssh", "-V"),
		say(b.mitogen[0], "-c", "import mitogen; print('.'.join(map(str, mitogen.__version__)))"), strings.Fields(string(load))[0], *runs)
}

// A reading is one run of a driver: what it printed last, and what was seen from outside.
type reading map[string]float64

// drive runs one workload. At each mark, see is called with the driver's pid and the mark's name.
func drive(driver []string, workload string, params any, see func(pid int, mark string, r reading)) (reading, error) {
	p, err := json.Marshal(params)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(driver[0], append(slices.Clone(driver[1:]), workload, string(p))...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r := reading{}
	err = listen(stdout, stdin, r, func(mark string) {
		if see != nil {
			see(cmd.Process.Pid, mark, r)
		}
	})
	if e := cmd.Wait(); e != nil || err != nil {
		return nil, fmt.Errorf("%s: %v %v\n%s", driver[len(driver)-1], err, e, stderr.Bytes())
	}
	r["process_s"] = time.Since(start).Seconds()
	r["cpu_s"] = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds() // of what it has waited for, too
	return r, nil
}

func listen(stdout io.Reader, stdin io.Writer, r reading, marked func(name string)) error {
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		var line map[string]any
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return err
		}
		if name, ok := line["mark"].(string); ok {
			marked(name)
			if _, err := io.WriteString(stdin, "\n"); err != nil {
				return err
			}
			continue
		}
		for k, v := range line {
			if f, ok := v.(float64); ok {
				r[k] = f
			}
		}
	}
	return lines.Err()
}

// pair runs two measurements in turn, and returns each one's readings.
func pair(first, second func() (reading, error)) (a, b []reading, err error) {
	for range *runs {
		for i, f := range []func() (reading, error){first, second} {
			r, err := f()
			if err != nil {
				return nil, nil, err
			}
			if i == 0 {
				a = append(a, r)
			} else {
				b = append(b, r)
			}
		}
	}
	return a, b, nil
}

// A stat is a figure over some runs.
type stat struct{ median, least, most float64 }

func over(rs []reading, key string) stat {
	var xs []float64
	for _, r := range rs {
		xs = append(xs, r[key])
	}
	slices.Sort(xs)
	return stat{xs[len(xs)/2], xs[0], xs[len(xs)-1]}
}

func (s stat) text(format string, scale float64) string {
	return fmt.Sprintf(format+" ("+format+"–"+format+")", s.median*scale, s.least*scale, s.most*scale)
}

// target is what both drivers take.
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

// descendants of pid, from /proc.
func descendants(pid int) []int {
	children := map[int][]int{}
	stats, _ := fs.Glob(os.DirFS("/proc"), "[0-9]*/stat")
	for _, name := range stats {
		b, err := os.ReadFile("/proc/" + name)
		if err != nil {
			continue
		}
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		child, _ := strconv.Atoi(strings.TrimSuffix(name, "/stat"))
		parent, _ := strconv.Atoi(f[1])
		children[parent] = append(children[parent], child)
	}
	all := slices.Clone(children[pid])
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// pss is a process's share of memory in MiB.
func pss(pid int) float64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); f[0] == "Pss:" {
			kib, _ := strconv.ParseFloat(f[1], 64)
			return kib / 1024
		}
	}
	return 0
}
