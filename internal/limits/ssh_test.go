package limits

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/mitogen-go/mitogen/internal/lab"
)

// Many hosts by ssh and natively: with 64 descriptors all are well; with fewer, an error says what
// is lacking, and never that a login failed, a key is unknown or the server has closed the
// connection.
func TestSSH(t *testing.T) {
	l := lab.Need(t)
	known, err := os.ReadFile(l.Config)
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "config")
	extra := fmt.Sprintf("Host n*\n  User %s\n  HostName %s\n  Port %d\n  IdentityFile %s\n  "+
		"IdentitiesOnly yes\n  UserKnownHostsFile %s\n", lab.Free, l.Host, l.Port, l.Key, l.KnownHosts)
	if err := os.WriteFile(config, append(known, extra...), 0o600); err != nil {
		t.Fatal(err)
	}
	count, steps := 24, []int{14, 24, 64}
	if soak {
		count, steps = 100, nil
		for n := 10; n <= 64; n++ {
			steps = append(steps, n)
		}
	}
	var targets []string
	for i := range count {
		targets = append(targets, fmt.Sprintf("n%d", i))
	}
	for _, flags := range [][]string{{"-F", config}, {"-F", config, "--ssh-native"}} {
		for _, n := range steps {
			t.Run(fmt.Sprint(flags[2:], n), func(t *testing.T) {
				all, stderr := call(t, func(words string) string { return resources[0].starve(n, words) },
					false, targets, flags...)
				if n == 64 {
					check(t, targets, 0, all, stderr)
					return
				}
				for _, r := range all {
					if r.Error != nil && !slices.Contains([]string{"exhausted", "start"}, r.Error.Kind) {
						t.Errorf("%s: got %v, want a result, or that a resource is lacking", r.Host, *r.Error)
					}
				}
			})
		}
	}
}
