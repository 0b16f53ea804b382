package engine

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/spawn"
	"github.com/mitogen-go/mitogen/internal/sshconf"
)

// Origin is the process that a request comes from, if that isn't this one.
type Origin struct {
	Dir string   // where relative names begin
	Env []string // "NAME=value", or "NAME" for what isn't set there
}

// lookup returns a variable of the process's environment.
func (o *Origin) lookup(name string) (string, bool) {
	if o != nil {
		for _, entry := range o.Env {
			n, value, set := strings.Cut(entry, "=")
			if n == name {
				return value, set
			}
		}
	}
	return os.LookupEnv(name)
}

// apply has a plan for this machine carried out as o would. It returns what of o decides where the
// plan leads.
func (o *Origin) apply(p *methods.Plan, place sshconf.Place) string {
	if o == nil {
		return ""
	}
	p.Origin = o.Env
	switch p.Method {
	case "local", "fork": // go anywhere
	case "ssh":
		if place.Relative {
			p.Dir = o.Dir
		}
	default:
		p.Dir = o.Dir
	}
	var b []byte
	for _, entry := range o.Env {
		if !strings.HasPrefix(entry, "PATH=") { // what is found there counts
			b = append(strconv.AppendQuote(b, entry), ' ')
		}
	}
	program, err := spawn.LookPath(*p)
	return string(fmt.Appendf(b, "%q %q %v", p.Dir, program, err))
}

// query is about the ssh of a plan.
func (o *Origin) query(p methods.Plan) sshconf.Query {
	end := len(p.Argv) - 3
	q := sshconf.Query{Argv: p.Argv[:end], Host: p.Argv[end+1], Env: o.lookup}
	if o != nil {
		q.Dir = o.Dir
		q.Environ = func() []string { return methods.Plan{Origin: o.Env}.Environ(os.Environ()) }
	}
	return q
}

// settle makes the plan of a hop of this machine a plan of o. It returns the facts that decide
// where the plan leads: o's, and ssh's configuration as it is now.
func (o *Origin) settle(p *methods.Plan) string {
	var place sshconf.Place
	if p.Method == "ssh" {
		if place = sshconf.Find(context.Background(), o.query(*p)); place.RemoteCommand {
			p.Argv = methods.WithoutRemoteCommand(p.Argv)
		}
	}
	return place.Sum + " " + o.apply(p, place)
}

// SSHVariables returns the names of the variables that the configuration of a hop's ssh uses, on
// this machine.
func SSHVariables(h methods.Hop, o connect.Options) []string {
	plan, err := h.Plan([]string{"true"}, o, true)
	if err != nil {
		return nil
	}
	return sshconf.Variables((*Origin)(nil).query(plan))
}

// key names what makes a context, secrets included, without showing them. place decides where its
// program of this machine leads.
func key(l link, o ConnectOptions, place string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %d %t %t %q ", l.name, o.LogLevel, l.carry, l.native, place)
	l.options.Fingerprint(h, l.hop.Method)
	return string(h.Sum(nil))
}

// Place returns what is equal for targets and options that lead to the same place from this
// machine: target, options, what decides of from (nil: this process), and the files of ssh's
// configuration as they are now.
func Place(target string, o connect.Options, from *Origin) (string, error) {
	hops, err := methods.ParseTarget(target)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for i, hop := range hops {
		plan, err := hop.Plan([]string{"true"}, o, true)
		if err != nil {
			return "", fmt.Errorf("place of %s: %w", target, err)
		}
		place := ""
		if i == 0 || hop.Method == "ssh" && !o.SSH.FromHop {
			place = from.settle(&plan)
		}
		io.WriteString(h, key(link{hop: hop, name: hop.String(), plan: plan, options: o},
			ConnectOptions{}, place))
	}
	return string(h.Sum(nil)), nil
}
