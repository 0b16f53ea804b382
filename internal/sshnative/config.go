// Package sshnative is an SSH client for many connections: none of them needs a process. The
// configuration is what ssh -G says of a host. A table (keywords.go) says for each keyword whether
// the client uses it, whether it is harmless, or whether the host is left to the ssh program, which
// ErrUnsupported asks for.
package sshnative

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/sshconf"
)

// ErrUnsupported says that the ssh program has to make the connection.
var ErrUnsupported = errors.New("not supported by the native transport")

// config is the answer of ssh -G for a host.
type config struct {
	values   map[string][]string // by keyword, in lower case
	defaults *config             // the answer without any configuration; nil in itself
	program  string              // the ssh that answered; empty in defaults
}

// get returns the first value of the first of some names of a keyword that is there.
func (c *config) get(keys ...string) string {
	for _, key := range keys {
		if v := c.values[key]; len(v) > 0 {
			return v[0]
		}
	}
	return ""
}

func (c *config) yes(keys ...string) bool {
	return slices.Contains([]string{"yes", "true", "unbound"}, strings.ToLower(c.get(keys...)))
}

// list returns the items of a keyword whose value is a list with commas.
func (c *config) list(keys ...string) []string {
	value := c.get(keys...)
	if value == "" {
		return nil
	}
	return strings.Split(value, ",")
}

// number returns a keyword's value, or another one if it has none.
func (c *config) number(key string, otherwise int) int {
	if n, err := strconv.Atoi(c.get(key)); err == nil {
		return n
	}
	return otherwise
}

func (c *config) port() int { return c.number("port", 22) }

// A query is one ssh -G. Calls with the same arguments share it if their configuration is still the
// query's. Other calls wait for the next, because the configuration has changed meanwhile.
type query struct {
	sum  string        // of the configuration's files when it was asked for
	done chan struct{} // closed when the following are final
	c    *config
	err  error
	next *query // for calls that came after the query began; protected by queries.mu
}

// An answered query is used again while the configuration is the same.
type answered struct {
	sum string // of the configuration's files
	c   *config
}

// queries holds the ones that go on, and answers, by arguments.
var queries = struct {
	mu      sync.Mutex
	running map[string]*query
	answers map[string]answered
}{running: map[string]*query{}, answers: map[string]answered{}}

const (
	// queryTimeout ends an ssh -G that hangs, for instance in a "Match exec".
	queryTimeout = 30 * time.Second
	// maxAnswers limits the memory for answers.
	maxAnswers = 1000
)

// someCommand stands for the command that will be executed: a section "Match sessiontype exec"
// holds only if there is one.
const someCommand = "true"

// ask returns the answer of ssh -G. argv is the command line of ssh, up to the host after "--", and
// perhaps a command.
func ask(ctx context.Context, argv []string) (*config, error) {
	last := len(argv) - 1
	for argv[last-1] != "--" {
		last--
	}
	sum := sshconf.Find(ctx, sshconf.Query{Argv: argv[:last-1], Host: argv[last]}).Sum
	id := strings.Join(argv, "\x00")
	q := enqueue(id, sum, argv)
	select {
	case <-q.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if q.err == nil {
		remember(id, answered{sum, q.c})
	}
	return q.c, q.err
}

func remember(id string, a answered) {
	queries.mu.Lock()
	defer queries.mu.Unlock()
	if len(queries.answers) >= maxAnswers {
		clear(queries.answers)
	}
	queries.answers[id] = a
}

// enqueue returns a query that is answered, or begins now or later.
func enqueue(id, sum string, argv []string) *query {
	queries.mu.Lock()
	defer queries.mu.Unlock()
	q := &query{sum: sum, done: make(chan struct{})}
	if a, ok := queries.answers[id]; ok && a.sum == sum {
		q.c = a.c
		close(q.done)
		return q
	}
	if running := queries.running[id]; running != nil {
		if running.sum == sum {
			return running
		}
		if running.next == nil {
			running.next = q
		}
		return running.next
	}
	queries.running[id] = q
	go q.run(id, argv)
	return q
}

func (q *query) run(id string, argv []string) {
	ctx, cancel := context.WithTimeout(context.Background(), queryTimeout)
	defer cancel()
	q.c, q.err = execute(ctx, argv)
	queries.mu.Lock()
	if q.next != nil {
		queries.running[id] = q.next
		go q.next.run(id, argv)
	} else {
		delete(queries.running, id)
	}
	queries.mu.Unlock()
	close(q.done)
}

func execute(ctx context.Context, argv []string) (*config, error) {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, argv[0], append([]string{"-G"}, argv[1:]...)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	switch {
	case methods.Shortage(err) != nil: // the ssh program couldn't be started either
		return nil, says("ssh -G: %w", err)
	case err != nil:
		return nil, unsupported("ssh -G: %v: %s", err, strings.TrimSpace(stderr.String()))
	}
	return parseAnswer(out)
}

// parseAnswer reads what ssh -G prints: a keyword and its value on each line.
func parseAnswer(out []byte) (*config, error) {
	c := &config{values: map[string][]string{}}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), " ")
		key = strings.ToLower(key)
		c.values[key] = append(c.values[key], value)
	}
	return c, lines.Err()
}

// defaults remembers what an ssh program says without any configuration.
var defaults sync.Map // by name of the program: *config

// defaultsOf returns the answer of an ssh program without any configuration.
func defaultsOf(ctx context.Context, program string) (*config, error) {
	if c, known := defaults.Load(program); known {
		return c.(*config), nil
	}
	c, err := ask(ctx, []string{program, "-F", "none", "--", "localhost"})
	if err != nil {
		return nil, err
	}
	defaults.Store(program, c)
	return c, nil
}

// configFor returns the answer of ssh -G beside its defaults.
func configFor(ctx context.Context, argv []string) (*config, error) {
	standard, err := defaultsOf(ctx, argv[0])
	if err != nil {
		return nil, err
	}
	c, err := ask(ctx, argv)
	if err != nil {
		return nil, err
	}
	return &config{c.values, standard, argv[0]}, nil
}

// The user's own known hosts as ssh -G prints them by default, after the home directory.
const (
	knownHosts  = "/.ssh/known_hosts"
	knownHosts2 = "/.ssh/known_hosts2"
)

// home returns the home directory that ssh takes: the account's, not $HOME.
func (c *config) home() (string, error) {
	standard := c.defaults.get("userknownhostsfile")
	rest, ok := strings.CutSuffix(standard, knownHosts2)
	if n := (len(rest) - len(knownHosts) - len(" ")) / 2; ok && n > 0 {
		if home := rest[:n]; standard == home+knownHosts+" "+home+knownHosts2 {
			return home, nil
		}
	}
	return "", unsupported("ssh's home directory is unknown: %s", standard)
}

// files returns the files of a keyword with several. ssh -G prints them with spaces between them
// and doesn't quote the spaces in them.
func (c *config) files(key string) ([]string, error) {
	value := c.get(key)
	switch {
	case value == "none":
		return nil, nil
	case value == c.defaults.get(key) && key == "userknownhostsfile":
		home, err := c.home()
		return []string{home + knownHosts, home + knownHosts2}, err
	case value == c.defaults.get(key):
		return strings.Fields(value), nil
	case strings.ContainsAny(value, " \t%$\"'\\") || strings.HasPrefix(value, "~") || value == "":
		return nil, unsupported("%s %s", key, value)
	}
	return []string{value}, nil
}

// expand expands the tokens of a file's name, as far as they are sure.
func (c *config) expand(name string) (string, error) {
	if rest, ok := strings.CutPrefix(name, "~/"); ok {
		home, err := c.home()
		if err != nil {
			return "", err
		}
		name = strings.ReplaceAll(home, "%", "%%") + "/" + rest
	}
	if strings.HasPrefix(name, "~") || strings.Contains(name, "${") {
		return "", unsupported("file %s", name)
	}
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if name[i] != '%' {
			b.WriteByte(name[i])
			continue
		}
		if i++; i == len(name) {
			return "", unsupported("file %s", name)
		}
		value, err := c.token(name[i])
		if err != nil {
			return "", fmt.Errorf("%w in %s", err, name)
		}
		b.WriteString(value)
	}
	return b.String(), nil
}

// token returns the value of a token, a letter after %.
func (c *config) token(letter byte) (string, error) {
	value := ""
	switch letter {
	case '%':
		value = "%"
	case 'd':
		return c.home()
	case 'h':
		value = c.get("hostname")
	case 'n':
		value = c.get("host")
	case 'p':
		value = c.get("port")
	case 'r':
		value = c.get("user")
	case 'u':
		value = c.defaults.get("user")
	}
	if value == "" {
		return "", unsupported("token %%%c", letter)
	}
	return value, nil
}
