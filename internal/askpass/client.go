package askpass

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/mitogen-go/mitogen/internal/confine"
	"github.com/mitogen-go/mitogen/internal/peer"
	"github.com/mitogen-go/mitogen/secret"
)

// init makes every program that links this package an askpass client, when started by an ssh of a
// Server: before its own main, and whatever arguments it takes otherwise.
func init() {
	where, asked := os.LookupEnv(envName)
	// ssh gives the prompt; ProxyCommand and the like inherit the environment, too
	if !asked || len(os.Args) != 2 {
		return
	}
	secret.Harden()
	answer, err := ask(where, question{hint: os.Getenv("SSH_ASKPASS_PROMPT"), text: os.Args[1],
		asker: strconv.Itoa(os.Getppid())})
	if err != nil {
		var place *peer.PlaceError
		if errors.As(err, &place) { // else the server has refused, and said why
			fmt.Fprintln(os.Stderr, "mitogen askpass:", place)
		}
		os.Exit(1)
	}
	fmt.Println(answer)
	os.Exit(0)
}

// ask returns the answer to q. It fails when the question is refused or the server ends.
func ask(where string, q question) (string, error) {
	token, path, _ := strings.Cut(where, ":")
	q.token = token
	c, err := peer.Dial(path)
	if err != nil {
		return "", err
	}
	defer c.Close()
	confine.Nothing() // where that can't be had, the program works without it
	if _, err := c.Write(q.append(nil)); err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.LimitReader(c, maxText))
	if err != nil {
		return "", err
	}
	if len(b) == 0 || b[0] != accepted {
		return "", fmt.Errorf("refused")
	}
	return string(b[1:]), nil
}
