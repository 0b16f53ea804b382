package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/internal/portforward"
	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/internal/sshserve"
)

// sshBackend is a backend for clients that bring an SSH of their own.
type sshBackend struct{ *withBackend }

// Check is sshserve.Backend's. A client that was given no user is one of its target's name.
func (b sshBackend) Check(ctx context.Context, target, user string) error {
	if user == target {
		user = ""
	}
	h, _, err := b.find(target)
	if err != nil {
		return err
	}
	return h.checkUser(ctx, user)
}

// Knows is sshserve.Backend's.
func (b sshBackend) Knows(subsystem string) error { return knownSubsystem(subsystem) }

// Start is sshserve.Backend's.
func (b sshBackend) Start(ctx context.Context, p *sshserve.Program) (sshserve.Process, error) {
	h, _, err := b.find(p.Target)
	if err != nil {
		return nil, err
	}
	c, err := h.start(ctx)
	if err != nil {
		return nil, err
	}
	info, err := c.Info(ctx)
	if err != nil {
		return nil, err
	}
	cmd := commandOfSSH(c, p.Command, p.Subsystem, p.Env)
	cmd.Agent = p.Agent
	cmd.Stdin, cmd.Stdout, cmd.Stderr = p.Stdin, p.Stdout, p.Stderr
	if p.Terminal != nil {
		cmd.Pty = &mitogen.Pty{Term: p.Terminal.Term, WindowSize: windowSize(p.Terminal.Size)}
	}
	if err := cmd.Start(ctx); err != nil {
		return nil, err
	}
	if cmd.Pty != nil {
		context.AfterFunc(ctx, func() { cmd.Signal("HUP") })
	}
	return sshProcess{cmd, info.Platform}, nil
}

func windowSize(s sshserve.Size) mitogen.WindowSize {
	narrow := func(n uint32) uint16 { return uint16(min(n, math.MaxUint16)) }
	return mitogen.WindowSize{Rows: narrow(s.Rows), Cols: narrow(s.Cols), Width: narrow(s.Width),
		Height: narrow(s.Height)}
}

// sshProcess is a program of such a client.
type sshProcess struct {
	cmd      *mitogen.Cmd
	platform string
}

func (p sshProcess) Signal(name string)     { p.cmd.Signal(name) }
func (p sshProcess) Resize(s sshserve.Size) { p.cmd.Resize(windowSize(s)) }

func (p sshProcess) Wait() (sshserve.End, error) {
	err := p.cmd.Wait()
	exit := (*mitogen.ExitError)(nil)
	switch {
	case !errors.As(err, &exit):
		return sshserve.End{}, err
	case exit.Signal > 0:
		return sshserve.End{Signal: signalName(p.platform, exit.Signal)}, nil
	}
	return sshserve.End{Status: exit.Status}, nil
}

// signalNames are those of signals that have the same number on all systems.
var signalNames = map[int]string{1: "HUP", 2: "INT", 3: "QUIT", 4: "ILL", 6: "ABRT", 8: "FPE",
	9: "KILL", 11: "SEGV", 13: "PIPE", 14: "ALRM", 15: "TERM"}

// linuxSignals are further ones of Linux.
var linuxSignals = map[int]string{10: "USR1", 12: "USR2"}

// signalName returns SSH's name of a signal, or one with its number, as a name of our own.
func signalName(platform string, number int) string {
	if name, ok := signalNames[number]; ok {
		return name
	}
	if name, ok := linuxSignals[number]; ok && platform == "linux" {
		return name
	}
	return fmt.Sprintf("%d@mitogen", number)
}

// Dial is sshserve.Backend's.
func (b sshBackend) Dial(ctx context.Context, target, network, address string) (net.Conn, error) {
	h, _, err := b.find(target)
	if err != nil {
		return nil, err
	}
	return h.dial(ctx, network, address)
}

// Listen is sshserve.Backend's.
func (b sshBackend) Listen(
	ctx context.Context,
	target, network, address string,
	open sshserve.Opener,
	ended func(),
) (port int, stop func(), err error) {
	h, _, err := b.find(target)
	if err != nil {
		return 0, nil, err
	}
	c, err := h.start(ctx)
	if err != nil {
		return 0, nil, err
	}
	at := portforward.Address{Network: network, Text: address}
	spec := portforward.Spec{Kind: portforward.Remote, Listen: at}
	lost := func(err error) {
		b.f.s.ui.say("%s: forward %s: %s", printable.Name(target), printable.Name(address),
			printable.Line(err.Error()))
		ended()
	}
	return b.serveForward(ctx, h, c, spec, &portforward.Server{Open: open}, lost)
}
