package methods

import (
	"fmt"
	"strings"

	"github.com/mitogen-go/mitogen/connect"
)

// kubectl runs in a container of a pod: "kubectl:[context@][namespace/]pod[/container]"; a
// container alone is written "kubectl:/pod/container". The Hop's User is the context.
var kubectlMethod = method{
	parse: func(args string, given bool) (Hop, error) {
		if !given || args == "" {
			return Hop{}, fmt.Errorf(`"kubectl" needs a pod: kubectl:[context@][namespace/]pod[/container]`)
		}
		h := Hop{Method: "kubectl", Host: args}
		if i := strings.LastIndexByte(args, '@'); i >= 0 {
			h.User, h.Host = args[:i], args[i+1:]
			if err := checkPath("context", h.User); err != nil {
				return Hop{}, fmt.Errorf("kubectl: %w", err)
			}
		}
		parts := strings.Split(h.Host, "/")
		if len(parts) > 3 {
			return Hop{}, fmt.Errorf("kubectl: %q has more parts than namespace/pod/container", h.Host)
		}
		for i, p := range parts {
			if i == 0 && p == "" && len(parts) == 3 {
				continue
			}
			if err := checkWord("name", p); err != nil {
				return Hop{}, fmt.Errorf("kubectl: %w", err)
			}
		}
		return h, nil
	},
	format: formatInside,
	plan: func(h Hop, boot []string, opt connect.Options, _ bool) (Plan, error) {
		o := opt.Programs["kubectl"]
		namespace, pod, container := "", h.Host, ""
		if parts := strings.SplitN(h.Host, "/", 3); len(parts) > 1 {
			parts = append(parts, "")
			namespace, pod, container = parts[0], parts[1], parts[2]
		}
		if pod == "" {
			return Plan{}, fmt.Errorf("no pod")
		}
		args := words([]string{or(o.Path, "kubectl")}, o.Args, flagged("--context", h.User),
			flagged("--namespace", namespace),
			[]string{"exec", "--stdin", "--quiet"}, o.ExecArgs, []string{pod},
			flagged("--container", container), []string{"--"})
		return Plan{Argv: append(args, boot...)}, nil
	},
	symptoms: insideSymptoms,
	hints:    kubectlHints,
	remote:   true,
}
