package proxy

import (
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/mitogen-go/mitogen/internal/peer"
)

// init makes every program that links this package a proxy, when started by an ssh of a Server:
// before its own main.
func init() {
	where, asked := os.LookupEnv(envName)
	if !asked || len(os.Args) != 3 { // ssh gives host and port
		return
	}
	if err := pass(where, os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "mitogen proxy:", err)
		os.Exit(255)
	}
	os.Exit(0)
}

// pass hands ssh, which is at the other end of fd 1, a connection to the server.
func pass(where, host, port string) error {
	token, path, _ := strings.Cut(where, ":")
	c, err := peer.Dial(path)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(c, "%s %s %s\n", token, host, port); err != nil {
		return err
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Control(func(fd uintptr) {
		if sent = syscall.SetNonblock(int(fd), false); sent == nil {
			sent = syscall.Sendmsg(1, []byte{0}, syscall.UnixRights(int(fd)), nil, 0)
		}
	})
	if err == nil {
		err = sent
	}
	return err
}
