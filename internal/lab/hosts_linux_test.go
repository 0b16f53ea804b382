package lab

import (
	"os/exec"
	"strings"
	"testing"
)

// Two rows of hosts at once have addresses of their own, and the end of one leaves the other.
func TestNetsAreApart(t *testing.T) {
	nets := map[*Net]string{}
	ask := func(t *testing.T, n *Net) string {
		cmd := exec.Command("ssh", "-F", n.Config, n.Names[0], "echo $SSH_CONNECTION; ip -o link")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("ssh: %v: %s", err, out)
		}
		return string(out)
	}
	first := NewNet(t, 1, 0)
	t.Run("second", func(t *testing.T) {
		for _, n := range []*Net{first, NewBadNet(t, 1)} {
			address := n.Address(1)
			if nets[n] = ask(t, n); !strings.Contains(nets[n], " "+address+" 22\n") ||
				!strings.Contains(nets[n], n.prefix) {
				t.Errorf("got %q, want address %s and a network device %s…", nets[n], address, n.prefix)
			}
		}
	})
	if got := ask(t, first); !strings.Contains(got, first.prefix) {
		t.Errorf("got %q, want the host that was there before", got)
	}
}
