package connect

// doas becomes another user. It asks on its controlling terminal.
var doasMethod = method{
	near:     true,
	parse:    parseUser("doas"),
	format:   formatUser,
	plan:     planDoas,
	symptoms: doasSymptoms,
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
	{"unknown user", ErrUnknownUser},
	{"a tty is required", ErrTTYRequired},
	{"not installed setuid", ErrSetup},
	{"doas.conf", ErrSetup},
	{"syntax error", ErrSetup},
	{"authentication failed", ErrAuth},
	{"authentication failure", ErrAuth},
	{"incorrect password", ErrAuth},
	{"authorization required", ErrPasswordRequired},
	{"operation not permitted", ErrNotPermitted},
	{"command not found", ErrNoCommand},
}
