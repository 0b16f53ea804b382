package methods

import "github.com/mitogen-go/mitogen/connect"

// doas becomes another user. It asks on its controlling terminal.
var doasMethod = method{
	near:     true,
	parse:    parseUser("doas"),
	format:   formatUser,
	plan:     planDoas,
	symptoms: doasSymptoms,
	session:  sessionSymptoms,
	hints:    doasHints,
	wrong:    connect.ErrAuth,
}

func planDoas(h Hop, boot []string, opt connect.Options, _ bool) (Plan, error) {
	o := opt.Doas
	args := append([]string{or(o.Path, "doas"), "-u", or(h.User, "root")}, o.Args...)
	return Plan{
		Argv:    append(append(args, "--"), boot...),
		Env:     []string{"LANGUAGE=C"},
		TTY:     true,
		Prompts: []Prompt{{[]byte("password:"), o.Password.Bytes()}},
	}, nil
}

var doasSymptoms = []symptom{
	{text: "unknown user", kind: connect.ErrUnknownUser},
	{text: "a tty is required", kind: connect.ErrTTYRequired},
	{text: "not installed setuid", kind: connect.ErrSetup},
	{text: "doas.conf", kind: connect.ErrSetup},
	{text: "syntax error", kind: connect.ErrSetup},
	{text: "authentication failed", kind: connect.ErrAuth},
	{text: "authentication failure", kind: connect.ErrAuth},
	{text: "incorrect password", kind: connect.ErrAuth},
	{text: "authorization required", kind: connect.ErrPasswordRequired},
	{text: "operation not permitted", kind: connect.ErrNotPermitted},
	{text: "command not found", kind: connect.ErrNoCommand},
}
