package connect

// doas becomes another user. It asks on its controlling terminal.
var doasMethod = method{
	near:     true,
	parse:    parseUser("doas"),
	format:   formatUser,
	plan:     planDoas,
	symptoms: doasSymptoms,
	session:  sessionSymptoms,
	hints:    doasHints,
	wrong:    ErrAuth,
}

func planDoas(h Hop, boot []string, opt Options, _ bool) (Plan, error) {
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
	{text: "unknown user", kind: ErrUnknownUser},
	{text: "a tty is required", kind: ErrTTYRequired},
	{text: "not installed setuid", kind: ErrSetup},
	{text: "doas.conf", kind: ErrSetup},
	{text: "syntax error", kind: ErrSetup},
	{text: "authentication failed", kind: ErrAuth},
	{text: "authentication failure", kind: ErrAuth},
	{text: "incorrect password", kind: ErrAuth},
	{text: "authorization required", kind: ErrPasswordRequired},
	{text: "operation not permitted", kind: ErrNotPermitted},
	{text: "command not found", kind: ErrNoCommand},
}
