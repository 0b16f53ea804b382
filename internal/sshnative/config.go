// Package sshnative is an SSH client for many connections: one that needs no process each. It goes by what ssh -G says of a host, keys,
// agent, certificates, known hosts and jumps included, and says ErrUnsupported where the configuration asks for what it hasn't.
package sshnative

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ErrUnsupported says that the configuration asks for something that only the ssh program can do.
var ErrUnsupported = errors.New("not supported by the native transport")

// config is what ssh -G says of a host.
type config struct {
	values map[string][]string // by keyword, in lower case
}

func (c *config) get(key string) string {
	if v := c.values[key]; len(v) > 0 {
		return v[0]
	}
	return ""
}

func (c *config) yes(key string) bool {
	return slices.Contains([]string{"yes", "true", "ask", "auto"}, c.get(key))
}

// words are a keyword's arguments on one line.
func (c *config) words(key string) []string { return strings.Fields(c.get(key)) }

func (c *config) port() int {
	n, err := strconv.Atoi(c.get("port"))
	if err != nil {
		return 22
	}
	return n
}

// configs remembers what ssh -G has said: hundreds of contexts may be on one host.
var configs sync.Map // by argv: *configEntry

type configEntry struct {
	once sync.Once
	c    *config
	err  error
	when time.Time
}

// configFor asks the ssh program. argv is its command line up to the host.
func configFor(ctx context.Context, argv []string) (*config, error) {
	key := strings.Join(argv, "\x00")
	x, _ := configs.LoadOrStore(key, &configEntry{when: time.Now()})
	e := x.(*configEntry)
	if time.Since(e.when) > 10*time.Second { // the files may have changed
		configs.CompareAndDelete(key, x)
	}
	e.once.Do(func() { e.c, e.err = askSSH(ctx, argv) })
	if e.err != nil {
		configs.CompareAndDelete(key, x)
	}
	return e.c, e.err
}

func askSSH(ctx context.Context, argv []string) (*config, error) {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, argv[0], append([]string{"-G"}, argv[1:]...)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("ssh -G: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	c := &config{values: map[string][]string{}}
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), " ")
		key = strings.ToLower(key)
		c.values[key] = append(c.values[key], value)
	}
	return c, lines.Err()
}

// supported returns ErrUnsupported, and what for.
func (c *config) supported() error {
	for key, plain := range map[string][]string{
		"proxycommand": {"", "none"}, "knownhostscommand": {"", "none"}, "pkcs11provider": {"", "none"}, "verifyhostkeydns": {"", "no", "false"},
		"hostbasedauthentication": {"", "no", "false"}, "forwardagent": {"", "no", "false"}, "canonicalizehostname": {"", "no", "false"},
		"gssapidelegatecredentials": {"", "no", "false"}, "tunnel": {"", "no", "false"}, "localcommand": {"", "none"}, "bindaddress": {"", "none"},
		"bindinterface": {"", "none"}, "revokedhostkeys": {"", "none"},
	} {
		if !slices.Contains(plain, strings.ToLower(c.get(key))) {
			return fmt.Errorf("%w: %s %s", ErrUnsupported, key, c.get(key))
		}
	}
	if !c.yes("pubkeyauthentication") && !c.yes("passwordauthentication") && !c.yes("kbdinteractiveauthentication") {
		return fmt.Errorf("%w: no way to authenticate that it knows", ErrUnsupported)
	}
	return nil
}

// file expands what may stand in the names of files.
func (c *config) file(name string) string {
	home, _ := os.UserHomeDir()
	if rest, ok := strings.CutPrefix(name, "~/"); ok {
		name = filepath.Join(home, rest)
	}
	local := ""
	if u, err := user.Current(); err == nil {
		local = u.Username
	}
	return strings.NewReplacer("%%", "%", "%d", home, "%h", c.get("hostname"), "%r", c.get("user"), "%u", local, "%p", strconv.Itoa(c.port()),
		"%n", c.get("host")).Replace(name)
}
