package methods

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/mitogen-go/mitogen/connect"
)

// setns enters all namespaces of another process, by nsenter: "setns:PID", or "setns:KIND/NAME" for
// the first process of a container, which its kind's own program tells. It needs no daemon's
// permission to execute, and nothing in the container.
var setnsMethod = method{
	parse: func(args string, given bool) (Hop, error) {
		kind, name, named := strings.Cut(args, "/")
		switch {
		case !given || args == "":
			return Hop{}, fmt.Errorf(`"setns" needs a process: setns:PID or setns:KIND/NAME`)
		case !named:
			if pid, err := strconv.ParseUint(args, 10, 31); err != nil || pid == 0 {
				return Hop{}, fmt.Errorf("setns: %q is no process id", args)
			}
		case leaders[kind] == "":
			return Hop{}, fmt.Errorf("setns: unknown kind %q (kinds: %s)", kind,
				strings.Join(leaderKinds(), ", "))
		default:
			if err := checkWord("name", name); err != nil {
				return Hop{}, fmt.Errorf("setns: %w", err)
			}
		}
		return Hop{Method: "setns", Host: args}, nil
	},
	format: formatInside,
	plan: func(h Hop, boot []string, opt connect.Options, _ bool) (Plan, error) {
		o := opt.Programs["setns"]
		enter := words([]string{or(o.Path, "nsenter"), "--all"}, o.Args)
		kind, name, named := strings.Cut(h.Host, "/")
		if !named {
			return Plan{Argv: append(append(enter, "--target", h.Host, "--"), boot...)}, nil
		}
		find := strings.ReplaceAll(leaders[kind], "NAME", QuoteCommand([]string{name}))
		script := "p=`" + find + "` && exec " + QuoteCommand(enter) + ` --target "$p" -- "$@"`
		return Plan{Argv: append([]string{"sh", "-c", script, "sh"}, boot...)}, nil
	},
	symptoms: insideSymptoms,
	hints:    treeHints,
	near:     true,
}

// leaders tell a container's first process.
var leaders = map[string]string{
	"docker":     "docker inspect --type container --format '{{.State.Pid}}' NAME",
	"podman":     "podman inspect --type container --format '{{.State.Pid}}' NAME",
	"lxc":        "lxc-info --no-humanize --pid --name NAME",
	"lxd":        `lxc info NAME | sed -n 's/^ *P[Ii][Dd]: *//p'`,
	"incus":      `incus info NAME | sed -n 's/^ *P[Ii][Dd]: *//p'`,
	"machinectl": "machinectl show --property Leader --value NAME",
}

func leaderKinds() []string {
	var kinds []string
	for k := range leaders {
		kinds = append(kinds, k)
	}
	slices.Sort(kinds)
	return kinds
}
