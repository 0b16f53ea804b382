// Package demo implements `mitogen demo`. It shows the main job on one machine, with an SSH server
// of its own for a remote host.
package demo

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"strings"
	"time"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/report"
)

//go:embed py
var files embed.FS

// Options are settings of Run.
type Options struct {
	Stdout io.Writer
	Colour bool
}

// grace is the time that a call has to end when the demo is interrupted. The demo must be over
// within a second.
const grace = 200 * time.Millisecond

// several is the number of contexts that are made at once.
const several = 4

// ErrNoSSH is the error where there is no ssh to connect with.
var ErrNoSSH = errors.New("the demo needs the OpenSSH client: install package openssh-client " +
	"(Debian, Ubuntu), openssh-clients " +
	"(Fedora), openssh (Arch, Alpine)")

// show is the demo while it runs.
type show struct {
	*printer
	ctx     context.Context
	eng     *mitogen.Engine
	options mitogen.ConnectOptions
	host    *mitogen.Context
	all     []*mitogen.Context // that were made, for the profile
}

// Run shows everything and returns when no process and no file of it is left. The end of ctx ends
// it early, with ctx's cause.
func Run(ctx context.Context, o Options) (err error) {
	if _, err := exec.LookPath("ssh"); err != nil {
		return ErrNoSSH
	}
	server, err := Serve(ServerOptions{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	python, err := fs.Sub(files, "py")
	if err != nil {
		return err
	}
	p := &printer{w: o.Stdout, colour: o.Colour}
	eng, err := mitogen.New(mitogen.Options{Path: []fs.FS{python}, Logger: p.logger(), Grace: grace})
	if err != nil {
		return err
	}
	defer eng.Close()
	defer p.end()
	s := &show{printer: p, ctx: ctx, eng: eng}
	s.options = mitogen.ConnectOptions{
		Options: connect.Options{SSH: connect.SSHOptions{ConfigFile: server.Config,
			HostKeys: connect.HostKeysStrict}},
		Stdout: p.stream("stdout"), Stderr: p.stream("stderr"),
	}
	for _, scene := range []func(*show) error{
		(*show).connect, (*show).script, (*show).call, (*show).exception, (*show).live, (*show).parallel,
		(*show).sudo,
		(*show).profile,
	} {
		err := scene(s)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *show) connect() error {
	s.say("An SSH server inside this program, on the loopback interface and with keys that are " +
		"thrown away afterwards, stands " +
		"for a remote host. There is nothing of ours on it. Your own ssh connects to it.")
	s.scene("connect to %q", Host)
	began := time.Now()
	c, err := s.eng.Connect(s.ctx, Host, s.options)
	if err != nil {
		return err
	}
	s.host = c
	s.all = append(s.all, c)
	info, err := c.Info(s.ctx)
	if err != nil {
		return err
	}
	s.result("up after %s: %s, Python %d.%d.%d on %s, process %d", round(time.Since(began)),
		info.Hostname, info.Version[0],
		info.Version[1], info.Version[2], info.Platform, info.PID)
	return nil
}

func (s *show) script() error {
	source, err := fs.ReadFile(files, "py/hello.py")
	if err != nil {
		return err
	}
	s.scene("run the script hello.py there, with arguments and standard input")
	out := s.stream("stdout")
	status, err := s.host.Run(s.ctx,
		mitogen.Script{Name: "hello.py", Source: source, Args: []string{"--flag", "argument"},
			Stdin: strings.NewReader("well done"), Stdout: out, Stderr: s.stream("stderr")})
	if err != nil {
		return err
	}
	out.flush()
	s.result("exit status %d, as it wanted", status)
	return nil
}

// Facts is the result of collect in facts.py.
type Facts struct {
	Host   string   `py:"host"`
	System string   `py:"system"`
	Python string   `py:"python"`
	PID    int      `py:"pid"`
	UID    int      `py:"uid"`
	Files  []string `py:"files"`
}

func (s *show) call() error {
	s.scene("call facts:collect, whose result becomes a Go struct")
	began := time.Now()
	f, err := mitogen.Call[Facts](s.ctx, s.host, "facts:collect")
	if err != nil {
		return err
	}
	s.result("%+v", f)
	s.result("in %s, its module included", round(time.Since(began)))
	began = time.Now()
	if _, err := mitogen.Call[Facts](s.ctx, s.host, "facts:collect"); err != nil {
		return err
	}
	s.result("and once more in %s", round(time.Since(began)))
	return nil
}

func (s *show) exception() error {
	s.scene("call facts:settings with a name that it doesn't know")
	_, err := mitogen.Call[string](s.ctx, s.host, "facts:settings", "weight")
	failed := (*report.CallError)(nil)
	if !errors.As(err, &failed) {
		return fmt.Errorf("facts:settings should have raised an exception: %w", err)
	}
	s.result("error: %v", failed)
	s.text(failed.Traceback)
	return nil
}

func (s *show) live() error {
	s.scene("call facts:work, which writes and logs while it runs")
	steps, err := mitogen.Call[int](s.ctx, s.host, "facts:work", 3)
	if err != nil {
		return err
	}
	s.result("returned %d", steps)
	return nil
}

type identity struct {
	PID int `py:"pid"`
	UID int `py:"uid"`
}

func (s *show) parallel() error {
	s.scene("connect to it %d times at once, call facts:whoami in all", several)
	began := time.Now()
	var contexts []*mitogen.Context
	for range several {
		c, err := s.eng.Start(Host, s.options)
		if err != nil {
			return err
		}
		contexts = append(contexts, c)
	}
	s.all = append(s.all, contexts...)
	for c, r := range mitogen.Each[identity](s.ctx, contexts, "facts:whoami") {
		if r.Err != nil {
			return r.Err
		}
		s.result("context %d: process %d, user %d, after %s", c.ID(), r.Value.PID, r.Value.UID,
			round(time.Since(began)))
	}
	return nil
}

func (s *show) sudo() error {
	s.scene("become root there: %s+sudo", Host)
	c, err := s.eng.Connect(s.ctx, Host+"+sudo", s.options)
	failed := (*connect.Error)(nil)
	if errors.As(err, &failed) {
		s.result("left out: %s", failed.Kind)
		if hint := failed.Hint; hint != "" {
			s.result("to see it, %s", hint)
		}
		return nil
	}
	if err != nil {
		return err
	}
	s.all = append(s.all, c)
	who, err := mitogen.Call[identity](s.ctx, c, "facts:whoami")
	if err != nil {
		return err
	}
	s.result("process %d, user %d, over the connection that was there, with no round trip of its own "+
		"to set up", who.PID, who.UID)
	return nil
}

func (s *show) profile() error {
	s.scene("what all this has cost on the network")
	rows := [][]string{{"context", "bytes down", "up", "frames down", "up", "round trips", "modules",
		"calls", "started", "python",
		"up", "first result"}}
	for _, c := range s.all {
		n := c.Stats()
		rows = append(rows, []string{fmt.Sprintf("%d %s", n.ID, n.Name), fmt.Sprint(n.BytesDown),
			fmt.Sprint(n.BytesUp),
			fmt.Sprint(n.FramesDown), fmt.Sprint(n.FramesUp), fmt.Sprint(n.RoundTrips),
			fmt.Sprint(n.Modules), fmt.Sprint(n.Calls),
			after(n.Spawn), after(n.EC0), after(n.Hello), after(n.Result)})
	}
	s.table(rows)
	s.say("Bytes and frames of a hop hold those of what is behind it. The times are from the " +
		"context's start to each phase's end.")
	return nil
}

// after is a time of the profile.
func after(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return round(d).String()
}

// round shows about three digits.
func round(d time.Duration) time.Duration {
	switch {
	case d > time.Second:
		return d.Round(10 * time.Millisecond)
	case d > 10*time.Millisecond:
		return d.Round(time.Millisecond)
	}
	return d.Round(10 * time.Microsecond)
}
