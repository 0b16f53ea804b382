// Driver does one named workload with this library and prints JSON lines: driver WORKLOAD
// '{"target": …}'.
//
// A line {"mark": NAME} asks the harness to take a reading and waits for a line on stdin; the last
// line is the result, times in seconds or, where the name says so, microseconds. A driver for
// Mitogen (../mitogen_driver.py) does the same work.
package main

import (
	"bufio"
	"cmp"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/secret"
)

//go:embed py
var files embed.FS

// A target says where to run: kind is local, local+sudo, ssh or ssh+sudo.
type target struct {
	Kind        string `json:"kind"`
	Name        string `json:"name"` // instead: a target of ours
	Port        int    `json:"port"`
	User        string `json:"user"`
	Password    string `json:"password"`
	Config      string `json:"ssh_config"`
	Host        string `json:"host"`
	Python      string `json:"python"`
	Compression *bool  `json:"compression"`
	Native      bool   `json:"native"`
}

type params struct {
	Target  target `json:"target"`
	N       int    `json:"n"`
	Threads int    `json:"threads"`
	Where   string `json:"where"`
	Module  string `json:"module"` // of whom loaded is called

	Packages string `json:"packages"` // directory with foreign packages, instead of the usual one
}

type result map[string]any

var workloads = map[string]func(context.Context, *mitogen.Engine, params) (result, error){
	"connect": connects, "latency": latency, "pipeline": pipeline, "scale": scale, "loop100": loop,
	"own": own, "tiers": tiers, "import": imports, "tree": tree,
}

// noop is bench_remote:noop in Go.
var _ = mitogen.Func("noop", func(context.Context, struct{}) (any, error) { return nil, nil })

// noop returns what calls of a target are measured with.
func (t target) noop() string {
	if t.Kind == "go" {
		return "go:noop"
	}
	return "bench_remote:noop"
}

func main() {
	mitogen.Main()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 3 || workloads[os.Args[1]] == nil {
		return fmt.Errorf("usage: driver WORKLOAD JSON")
	}
	var p params
	if err := json.Unmarshal([]byte(os.Args[2]), &p); err != nil {
		return err
	}
	py, err := fs.Sub(files, "py")
	if err != nil {
		return err
	}
	// Foreign packages: the site-packages of a virtual environment.
	var packages []fs.FS
	if dir := cmp.Or(p.Packages, os.Getenv("BENCH_PACKAGES")); dir != "" {
		packages = append(packages, os.DirFS(dir))
	}
	e, err := mitogen.New(mitogen.Options{Path: []fs.FS{py}, Packages: packages})
	if err != nil {
		return err
	}
	defer e.Close()
	r, err := workloads[os.Args[1]](context.Background(), e, p)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// mark lets the harness take a reading.
func mark(name string) {
	fmt.Printf("{\"mark\": %q}\n", name)
	bufio.NewReader(os.Stdin).ReadString('\n')
}

func (t target) start(e *mitogen.Engine) (*mitogen.Context, error) {
	o := mitogen.ConnectOptions{Options: connect.Options{Sudo: connect.SudoOptions{
		Password: secret.Secret(t.Password)}}}
	if t.Python != "" {
		o.Python = []string{t.Python}
	}
	if t.Kind == "go" {
		return e.ConnectGo(context.Background(), mitogen.ConnectOptions{})
	}
	name := t.Kind
	if strings.HasPrefix(t.Kind, "ssh") {
		host := t.Host
		if host == "" {
			host = "bench"
		}
		o.SSH = connect.SSHOptions{ConfigFile: t.Config, Port: t.Port, User: t.User,
			Compression: t.Compression, Native: t.Native}
		name = host + strings.TrimPrefix(t.Kind, "ssh")
	}
	if t.Name != "" {
		o.SSH.ConfigFile, o.SSH.Native = t.Config, t.Native
		name = t.Name
	}
	o.SSH.CallsAhead = true
	return e.Start(name, o)
}

func seconds(since time.Time) float64 { return time.Since(since).Seconds() }

func connects(ctx context.Context, e *mitogen.Engine, p params) (result, error) {
	t0 := time.Now()
	c, err := p.Target.start(e)
	if err != nil {
		return nil, err
	}
	t1 := time.Now()
	if _, err := mitogen.Call[int](ctx, c, "os:getpid"); err != nil {
		return nil, err
	}
	first := seconds(t1)
	total := seconds(t0)
	mark("first_call")
	t2 := time.Now()
	if _, err := mitogen.Call[int](ctx, c, "own_module:pid"); err != nil {
		return nil, err
	}
	r := result{"connect_s": total - first, "first_call_s": first, "total_s": total,
		"own_module_s": seconds(t2)}
	mark("own_module")
	return r, nil
}

// own is a whole program: connect, one call into a module of the user's own, end.
func own(ctx context.Context, e *mitogen.Engine, p params) (result, error) {
	t0 := time.Now()
	c, err := p.Target.start(e)
	if err != nil {
		return nil, err
	}
	if _, err := mitogen.Call[int](ctx, c, "own_module:pid"); err != nil {
		return nil, err
	}
	return result{"total_s": seconds(t0)}, nil
}

func ready(ctx context.Context, e *mitogen.Engine, p params, function string) (*mitogen.Context,
	error) {
	c, err := p.Target.start(e)
	if err != nil {
		return nil, err
	}
	for range 100 {
		if _, err := mitogen.Call[any](ctx, c, function); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func latency(ctx context.Context, e *mitogen.Engine, p params) (result, error) {
	noop := p.Target.noop()
	c, err := ready(ctx, e, p, noop)
	if err != nil {
		return nil, err
	}
	us := make([]float64, p.N)
	sum := 0.0
	for i := range us {
		t := time.Now()
		if _, err := mitogen.Call[any](ctx, c, noop); err != nil {
			return nil, err
		}
		us[i] = float64(time.Since(t).Nanoseconds()) / 1000
		sum += us[i]
	}
	slices.Sort(us)
	return result{"mean_us": sum / float64(p.N), "p50_us": us[p.N/2], "p99_us": us[p.N*99/100]}, nil
}

func pipeline(ctx context.Context, e *mitogen.Engine, p params) (result, error) {
	noop := p.Target.noop()
	c, err := ready(ctx, e, p, noop)
	if err != nil {
		return nil, err
	}
	t := time.Now()
	pending := make([]*mitogen.Pending, p.N)
	for i := range pending {
		pending[i] = c.Go(noop)
	}
	for _, w := range pending {
		if _, err := mitogen.Wait[any](ctx, w); err != nil {
			return nil, err
		}
	}
	s := seconds(t)
	return result{"s": s, "calls_per_s": float64(p.N) / s}, nil
}

func scale(ctx context.Context, e *mitogen.Engine, p params) (result, error) {
	contexts := make([]*mitogen.Context, p.N)
	errs := make([]error, p.N)
	gate := make(chan struct{}, max(1, p.Threads))
	var wg sync.WaitGroup
	t0 := time.Now()
	for i := range contexts {
		gate <- struct{}{}
		wg.Go(func() {
			defer func() { <-gate }()
			if contexts[i], errs[i] = p.Target.start(e); errs[i] == nil {
				_, errs[i] = mitogen.Call[int](ctx, contexts[i], "os:getpid")
			}
		})
	}
	wg.Wait()
	s := seconds(t0)
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	mark("connected")
	t1 := time.Now()
	for _, r := range mitogen.Each[int](ctx, contexts, "os:getpid") {
		if r.Err != nil {
			return nil, r.Err
		}
	}
	return result{"s": s, "per_s": float64(p.N) / s, "broadcast_call_s": seconds(t1)}, nil
}

func loop(ctx context.Context, e *mitogen.Engine, p params) (result, error) {
	t0 := time.Now()
	c, err := p.Target.start(e)
	if err != nil {
		return nil, err
	}
	if _, err := mitogen.Call[int](ctx, c, "os:getpid"); err != nil {
		return nil, err
	}
	connected := seconds(t0)
	mark("connected")
	t1 := time.Now()
	if p.Where == "remote" {
		_, err = mitogen.Call[any](ctx, c, "bench_remote:true_loop", p.N)
	} else {
		for range p.N {
			if _, err = mitogen.Call[any](ctx, c, "bench_remote:true_once"); err != nil {
				break
			}
		}
	}
	if err != nil {
		return nil, err
	}
	looped := seconds(t1)
	mark("done")
	return result{"connect_s": connected, "loop_s": looped, "total_s": connected + looped}, nil
}
