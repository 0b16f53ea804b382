// Link runs a command beside an SSH server behind an emulated link: link RTT COMMAND... The
// command finds in LINK_CONFIG a configuration for ssh, by which host "mito" is the server.
// It needs root and Linux, as the lab does.
package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/internal/linksim"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "link:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 2 {
		return errors.New("got no command, want RTT and COMMAND")
	}
	rtt, err := time.ParseDuration(args[0])
	if err != nil {
		return err
	}
	l, err := lab.Use()
	if err != nil {
		return err
	}
	defer l.Release()
	link, err := linksim.Listen(net.JoinHostPort(l.Host, strconv.Itoa(l.Port)), rtt)
	if err != nil {
		return err
	}
	defer link.Close()
	dir, err := os.MkdirTemp("", "link")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	config, err := configure(dir, l, link.Port())
	if err != nil {
		return err
	}
	cmd := exec.Command(args[1], args[2:]...)
	cmd.Env = append(os.Environ(), "LINK_CONFIG="+config)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}

// configure writes what ssh needs to know, and returns the file's name.
func configure(dir string, l *lab.Lab, port int) (string, error) {
	known, err := os.ReadFile(l.KnownHosts)
	if err != nil {
		return "", err
	}
	_, key, _ := strings.Cut(string(known), " ")
	hosts, config := filepath.Join(dir, "known_hosts"), filepath.Join(dir, "ssh_config")
	text := fmt.Sprintf("Host mito\n  HostKeyAlias mito-bench\n  UserKnownHostsFile %s\n"+
		"  User %s\n  Port %d\n\nInclude %s\n", hosts, lab.Free, port, l.Config)
	return config, errors.Join(os.WriteFile(hosts, []byte("mito-bench "+key), 0o600),
		os.WriteFile(config, []byte(text), 0o600))
}
