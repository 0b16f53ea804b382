package methods

import (
	"slices"
	"strings"

	"github.com/mitogen-go/mitogen/connect"
)

// sudo becomes another user. Its fds 0 to 2 are pipes, and it gets a terminal to ask on, which
// satisfies requiretty.
var sudoMethod = method{
	near:     true,
	parse:    parseUser("sudo"),
	format:   formatUser,
	plan:     planSudo,
	symptoms: sudoSymptoms,
	session:  sessionSymptoms,
	hints:    sudoHints,
	wrong:    connect.ErrSudoPassword,
}

// sudoPrompt can't be localised. sudo prints it as it is, sudo-rs as "[sudo: mitogen-password]
// Password: ".
const sudoPrompt = "mitogen-password"

func planSudo(h Hop, boot []string, opt connect.Options, _ bool) (Plan, error) {
	o := opt.Sudo
	args := []string{or(o.Path, "sudo"), "-p", sudoPrompt, "-u", or(h.User, "root")}
	if o.SetHome {
		args = append(args, "-H")
	}
	if o.Login {
		args = append(args, "-i")
	}
	if o.Login || slices.Contains(o.Args, "-s") || slices.Contains(o.Args, "--shell") {
		boot = withoutDollars(boot)
	}
	args = append(args, o.Args...)
	args = append(args, "--")
	return Plan{
		Argv:    append(args, boot...),
		Env:     []string{"LANGUAGE=C"}, // sudo's own messages as sudoSymptoms knows them
		TTY:     true,
		Prompts: []Prompt{{[]byte(sudoPrompt), o.Password.Bytes()}},
	}, nil
}

// withoutDollars writes a command without any dollar sign, since "sudo -i" and "sudo -s" escape
// every other special character for the shell, but let it expand variables.
func withoutDollars(command []string) []string {
	if !strings.Contains(strings.Join(command, ""), "$") {
		return command
	}
	// In a double-quoted backquote substitution \\ stands for \, so that printf sees \0nnn.
	special := strings.NewReplacer("$", `\\0044`, "'", `\\0047`, `"`, `\\0042`, "`", `\\0140`, `\`,
		`\\0134`)
	text := special.Replace("exec " + QuoteCommand(command))
	return []string{"sh", "-c", "eval \"`printf %b '" + text + "'`\""}
}
