package cli

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/mitogen-go/mitogen/internal/muxserve"
	"github.com/mitogen-go/mitogen/internal/sshargs"
)

// agentVariable is the environment variable with the path of the agent's socket.
const agentVariable = "SSH_AUTH_SOCK"

// agentHere returns the path of the agent that is to be forwarded.
func agentHere() (string, error) {
	path := os.Getenv(agentVariable)
	if path == "" {
		return "", usagef("-A: %s is not set, want the path of an ssh-agent's socket", agentVariable)
	}
	path, err := filepath.Abs(path)
	if err == nil {
		err = tryAgent(path)
	}
	if err != nil {
		return "", fmt.Errorf("-A: no agent at %s: %w", agentVariable, err)
	}
	return path, nil
}

// tryAgent connects to an agent.
func tryAgent(path string) error {
	c, err := net.Dial("unix", path)
	if err != nil {
		return err
	}
	return c.Close()
}

// agentOf returns the path of the agent that a client wants to have forwarded. As with ssh, that is
// none if nothing listens there.
func agentOf(r *muxserve.Request) string {
	path := cmp.Or(r.AgentSocket, os.Getenv(agentVariable))
	if !r.Agent || path == "" || tryAgent(path) != nil {
		return ""
	}
	return path
}

// askAgent says in r what arguments of ssh say about the agent.
func askAgent(r *muxserve.Request, a *sshargs.Args) error {
	path, err := a.AgentPath(os.Getenv)
	if err != nil || path == "" {
		return err
	}
	r.Agent = true
	r.AgentSocket, err = filepath.Abs(path)
	return err
}
