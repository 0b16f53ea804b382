package methods

import (
	"fmt"

	"github.com/mitogen-go/mitogen/connect"
)

// machinectl opens a session in a machine that systemd knows, ".host" for the one where it runs. It
// has a terminal only, so the boot waits for EC0.
var machinectlMethod = method{
	parse:  machinectlInside.parse,
	format: formatInside,
	plan: func(h Hop, boot []string, opt connect.Options, here bool) (Plan, error) {
		// it wants a path
		p, err := machinectlInside.plan(h, append([]string{"/usr/bin/env"}, boot...), opt, here)
		if err != nil {
			return Plan{}, fmt.Errorf("machinectl: %w", err)
		}
		p.TTY, p.Wait = true, true
		return p, nil
	},
	symptoms: insideSymptoms,
	hints:    lxcHints,
}

var machinectlInside = inside("machinectl", "machinectl", "machine", checkWord, checkUser,
	func(o connect.ProgramOptions, h Hop) []string {
		return words(o.Args, []string{"--quiet", "shell", or(h.User, "root") + "@" + h.Host})
	})
