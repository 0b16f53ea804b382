package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/internal/inventory"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/secret"
)

// secretFlags say where the secrets of single hops come from.
type secretFlags struct {
	of      []string // HOP=SOURCE
	command string

	variables map[string]secret.Secret // of the environment, which has them no more
}

// Sources of --password-of.
const (
	sourceAsk  = "ask"
	sourceFD   = "fd:"
	sourceEnv  = "env:"
	sourceFile = "file:"
)

func (o *options) addSecrets(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&o.secrets.of, "password-of", nil,
		"`HOP=SOURCE`, the password of one hop (sudo, web1+sudo): ask, fd:N, env:NAME or file:FILE; "+
			"repeat")
	f.StringVar(&o.secrets.command, "password-command", "",
		"`COMMAND` of this machine that prints a password when one is asked for; finds the hop in "+
			"$MITOGEN_SECRET_…")
	must(cmd.RegisterFlagCompletionFunc("password-of", completePasswordOf))
}

// seal keeps the processes that a command starts from what the flags name: variables are taken from
// the environment, and file descriptors are closed when a program is executed.
func (o *options) seal() error {
	o.secrets.variables = map[string]secret.Secret{}
	fds := []int{o.askPassFD, o.askBecomeFD}
	for _, text := range o.secrets.of {
		_, source, err := cutPasswordOf(text)
		if err != nil {
			return err
		}
		if name, ok := strings.CutPrefix(source, sourceEnv); ok {
			if _, set := os.LookupEnv(name); !set && o.secrets.variables[name] == "" {
				return usagef("--password-of %s: $%s is not set", quoted(text), name)
			}
			if s := secret.FromEnv(name); s != "" {
				o.secrets.variables[name] = s
			}
		}
		if n, ok := strings.CutPrefix(source, sourceFD); ok {
			fd, err := strconv.Atoi(n)
			if err != nil || fd < 0 {
				return usagef("--password-of %s: bad file descriptor %s", quoted(text), quoted(n))
			}
			fds = append(fds, fd)
		}
	}
	for _, fd := range fds {
		if fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
	return nil
}

// cutPasswordOf reads HOP=SOURCE. A user in HOP may have an = in its name.
func cutPasswordOf(text string) (hop, source string, err error) {
	for _, kind := range []string{sourceFD, sourceEnv, sourceFile} {
		if at := strings.Index(text, "="+kind); at >= 0 {
			hop, source = text[:at], text[at+1:]
			break
		}
	}
	if h, ok := strings.CutSuffix(text, "="+sourceAsk); ok && source == "" {
		hop, source = h, sourceAsk
	}
	if source == "" {
		return "", "", usagef("--password-of %s: not HOP=SOURCE, with SOURCE ask, fd:N, env:NAME or "+
			"file:FILE", quoted(text))
	}
	if hop, err = methods.PasswordName(hop); err != nil {
		return "", "", usagef("--password-of: %w", err)
	}
	return hop, source, nil
}

// hopPasswords returns the passwords of --password-of.
func (s *state) hopPasswords(ctx context.Context) (secret.Table, error) {
	all := map[string]secret.Secret{}
	for _, text := range s.opt.secrets.of {
		hop, source, err := cutPasswordOf(text)
		if err != nil {
			return "", err
		}
		value, err := s.hopPassword(ctx, "password of "+hop, source)
		if err != nil {
			return "", err
		}
		if value == "" || strings.Contains(string(value), "\x00") {
			return "", usagef("--password-of %s: the password is empty, or has a NUL", quoted(text))
		}
		all[hop] = value
	}
	return secret.NewTable(all)
}

func (s *state) hopPassword(ctx context.Context, what, source string) (secret.Secret, error) {
	kind, rest, _ := strings.Cut(source, ":")
	switch kind + ":" {
	case sourceFD:
		fd, _ := strconv.Atoi(rest) // which seal has checked
		return readFD(what, fd)
	case sourceEnv:
		return s.opt.secrets.variables[rest], nil
	case sourceFile:
		f, err := os.Open(rest)
		if err != nil {
			return "", usagef("%s: %w", what, err)
		}
		defer f.Close()
		value, err := secret.ReadLine(f)
		if err != nil {
			return "", usagef("%s: %w", what, err)
		}
		return value, nil
	}
	return s.askSecret(ctx, what, "take it from a file: --password-of HOP=file:FILE")
}

// askSecret asks for a secret on the terminal. remedy says what to do without one.
func (s *state) askSecret(ctx context.Context, what, remedy string) (secret.Secret, error) {
	text, err := s.ask(ctx, what+": ", false)
	if errors.Is(err, errNoTerminal) {
		return "", withHint(fmt.Errorf("%s: %w", what, err), remedy)
	}
	return secret.Secret(text), err
}

// source returns what runs --password-command; nil: there is none.
func (f *secretFlags) source() (secret.Source, error) {
	if f.command == "" {
		return nil, nil
	}
	argv, err := methods.SplitWords(f.command)
	if err != nil || len(argv) == 0 {
		return nil, usagef("--password-command %s: no command", quoted(f.command))
	}
	return secret.Command(argv), nil
}

// completePasswordOf completes methods that ask for passwords, hosts, and sources behind =.
func completePasswordOf(cmd *cobra.Command, _ []string, typed string) ([]string,
	cobra.ShellCompDirective) {
	config, _ := cmd.Flags().GetString("ssh-config")
	var words []string
	if hop, _, named := strings.Cut(typed, "="); named {
		for _, source := range []string{sourceAsk, sourceFD, sourceEnv, sourceFile} {
			words = append(words, hop+"="+source)
		}
	} else {
		before := typed[:strings.LastIndexAny(typed, "+@")+1]
		for _, hop := range append(sshHosts(config), "sudo", "su", "doas") {
			words = append(words, before+hop+"=")
		}
	}
	return completions("", typed, words),
		cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// optionsAt returns the flags' options for one of the ways to a target. ssh's password is for the
// last way. The passwords of sudo, su and doas are for the last way that has such a hop.
func optionsAt(o mitogen.ConnectOptions, chain []inventory.Way, i int) mitogen.ConnectOptions {
	if i < len(chain)-1 {
		o.SSH.Password = ""
	}
	if inventory.BecomesLater(chain, i) {
		o.Sudo.Password, o.Su.Password, o.Doas.Password = "", "", ""
	}
	return o
}

// optionsOfHop returns the options of one hop of a way, whose hops are connected one by one.
func optionsOfHop(o mitogen.ConnectOptions, via *mitogen.Context, hops []methods.Hop,
	i int) mitogen.ConnectOptions {
	before := ""
	if via != nil {
		before = via.Name()
	}
	var err error
	o.Options, err = methods.ForHop(o.Options, before, hops, i)
	must(err) // names and secrets were looked at before
	return o
}
