package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/inventory"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/secret"
)

// defaultForks is the default number of targets that a command works on at once. Each costs an ssh
// process.
const defaultForks = 32

// spot is one place to work at: how it is entered, from one way to the next.
type spot struct {
	name  string
	chain []inventory.Way
	err   error // why there is no chain; else nil
}

// options are the flags that commands have in common.
type options struct {
	targets        targetList
	inventory      []string
	limit          string
	via            targetList
	spots          []spot // what these come to; set by check
	forks          int
	retries        int
	json           bool
	stats          string
	audit          string
	timeout        duration
	connectTimeout duration
	heartbeat      heartbeat

	path  []string
	serve []string
	strip bool

	noNative     bool
	nativeBudget int64 // MiB
	learned      string
	binaries     string // directory; "": none
	venv         string
	python       []string

	sshConfig, identity string
	sshArgs             []string
	sshFromHop          bool
	sshNative           bool
	sshNoAhead          bool
	bulk                bool // the command moves data, which ssh is not to compress
	gathers             bool // targets wait for each other, and --forks counts the rest
	compress            bool
	port                int
	hostKeys            hostKeys

	askPass, askBecome         bool
	askPassFD, askBecomeFD     int
	becomeLogin, becomeSetHome bool
	secrets                    secretFlags

	programs    map[string]string
	programArgs []string

	daemon bool
	socket string

	verbose int
	quiet   bool
	noColor bool
}

// addOutput adds the flags of every command.
func (o *options) addOutput(f *pflag.FlagSet) {
	f.CountVarP(&o.verbose, "verbose", "v",
		"log more to standard error: informative records, with -vv debugging ones")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "log errors only, and show no progress")
	f.BoolVar(&o.noColor, "no-color", false, "no colours; so does $NO_COLOR")
}

// addTargets adds the flags of commands that connect.
func (o *options) addTargets(cmd *cobra.Command) {
	f := cmd.Flags()
	f.VarP(&o.targets, "target", "t",
		"where: hops joined by +, see mitogen --help; repeat, or separate by commas")
	f.StringArrayVarP(&o.inventory, "inventory", "i", nil,
		"Ansible inventory `FILE` or directory, - for stdin, or hosts with commas between; repeat")
	f.StringVarP(&o.limit, "limit", "l", "",
		"hosts of the inventory, an Ansible `PATTERN`: web,!old or @FILE; default: all")
	f.Var(&o.via, "via", "reach the targets through this one; with several, each takes its share; "+
		"the inventory's own ways win")
	f.IntVar(&o.retries, "retries", -1,
		"how often to try again where the network failed; default: 2 for several targets, else 0")
	f.IntVarP(&o.forks, "forks", "f", defaultForks,
		"how many targets to work on at once, as far as there are descriptors for")
	f.BoolVar(&o.json, "json", false, "print one JSON object a line for each target")
	f.StringVar(&o.stats, "stats", "",
		"write the network profile to `FILE` as JSON; - is standard error")
	o.addAudit(f)
	f.Var(&o.timeout, "timeout", "for each target, from connecting to the end; 90, 1.5m; default: "+
		"none")
	f.Var(&o.connectTimeout, "connect-timeout", "for each hop, until it is up; default: 30s")
	f.Var(&o.heartbeat, "heartbeat",
		"end a connection that is silent for so long; 0: never; default: 5m while something runs, else "+
			"30s")
	f.StringArrayVar(&o.python, "python", nil,
		"interpreter there, a `COMMAND` for sh; repeat to try several in turn")

	f.StringVarP(&o.sshConfig, "ssh-config", "F", "",
		"ssh's configuration `FILE`, instead of ~/.ssh/config")
	f.StringArrayVar(&o.sshArgs, "ssh-arg", nil, "further `ARGUMENT` for ssh; repeat")
	f.BoolVar(&o.sshFromHop, "ssh-from-hop", false,
		"behind a hop, start ssh there; else it runs here, and the hop forwards the connection")
	f.BoolVar(&o.sshNoAhead, "ssh-no-ahead", false,
		"start without the environment variables LC_MITO and LC_MITO_DATA, which save a round trip "+
			"where the server accepts it")
	f.BoolVar(&o.sshNative, "ssh-native", false,
		"speak SSH without the ssh program, for many hosts; what its configuration asks for beyond that "+
			"is left to it")
	f.IntVarP(&o.port, "port", "p", 0, "port of ssh, where the target names none")
	f.StringVar(&o.identity, "identity", "",
		"`FILE` of the private key for ssh, offered before those that ssh's configuration names for the "+
			"host")
	f.Var(&o.hostKeys, "host-keys",
		"accept-new (keep unknown keys), strict (refuse them) or off (take any); default: as ssh does")
	f.BoolVar(&o.askPass, "ask-pass", false, "ask for ssh's password; else $MITOGEN_SSH_PASSWORD")
	f.IntVar(&o.askPassFD, "ask-pass-fd", -1, "read ssh's password from file descriptor `N`, one line")

	f.BoolVarP(&o.askBecome, "become-password", "K", false,
		"ask for the password of sudo, su and doas; else $MITOGEN_BECOME_PASSWORD")
	f.IntVar(&o.askBecomeFD, "become-password-fd", -1,
		"read the password of sudo, su and doas from file descriptor `N`, one line")
	o.addSecrets(cmd)
	f.BoolVar(&o.becomeLogin, "become-login", false, "sudo -i, su -: through the user's login shell")
	f.BoolVar(&o.becomeSetHome, "become-home", false, "sudo -H: with the user's home directory")
	f.StringToStringVar(&o.programs, "program", nil,
		"`METHOD=PATH` of a method's program: docker=/opt/bin/docker; repeat")
	f.StringArrayVar(&o.programArgs, "program-arg", nil,
		"`METHOD=ARGUMENT`, further, for a method's program: kubectl=--kubeconfig=k; repeat")
	f.BoolVar(&o.daemon, "daemon", false, "use contexts that a daemon keeps; also $MITOGEN_DAEMON=1")
	o.addSocket(cmd)
	o.addOutput(f)
	must(cmd.RegisterFlagCompletionFunc("target", completeTarget))
	must(cmd.RegisterFlagCompletionFunc("limit", completeLimit))
	must(cmd.RegisterFlagCompletionFunc("host-keys",
		cobra.FixedCompletions(hostKeyNames, cobra.ShellCompDirectiveNoFileComp)))
}

// addNamedTargets is addTargets for commands whose targets may have names: NAME=TARGET.
func (o *options) addNamedTargets(cmd *cobra.Command) {
	o.addTargets(cmd)
	cmd.Flags().Lookup("target").Value = (*namedTargets)(&o.targets)
}

// addPath adds the flags of commands that send modules.
func (o *options) addPath(f *pflag.FlagSet) {
	f.StringArrayVar(&o.path, "path", nil,
		"`DIR` or zip file with Python modules to send; repeat; then those of $MITOGEN_PATH")
	f.StringSliceVar(&o.serve, "serve", nil,
		"`MODULE`, or package with all in it, that may be sent though no code names it; repeat")
	f.BoolVar(&o.strip, "strip", false,
		"send modules without comments and docstrings: fewer bytes, no help texts")
	f.BoolVar(&o.noNative, "no-native", false, "send no extension modules")
	f.Int64Var(&o.nativeBudget, "native-budget", 64,
		"send each target extension modules of at most so many `MIB`, up to 120")
	f.StringVar(&o.learned, "learned", learnedFile(),
		"`FILE` that keeps which modules programs asked for, so that these go ahead next time; empty: "+
			"none")
	f.StringVar(&o.venv, "venv", "",
		"virtual environment `DIR`, whose packages are sent where they are not installed; else "+
			"$VIRTUAL_ENV")
}

// learnedFile is the usual place of what is learned, "" where the user has no home of their own:
// sudo may leave another's.
func learnedFile() string {
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	st, err := os.Stat(home)
	if err != nil || !st.IsDir() {
		return ""
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); !ok || int(sys.Uid) != os.Geteuid() {
		return ""
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "mitogen", "learned.json")
}

var hostKeyNames = []string{string(connect.HostKeysAcceptNew), string(connect.HostKeysStrict),
	string(connect.HostKeysOff)}

// check finds mistakes that one flag alone doesn't show, and where to work.
func (s *state) check(ctx context.Context) error {
	o := &s.opt
	if err := o.seal(); err != nil {
		return err
	}
	switch {
	case o.limit != "" && len(o.inventory) == 0:
		return usagef("-l without an inventory: -i FILE")
	case len(o.targets)+len(o.inventory) == 0:
		return withHint(fmt.Errorf("no target"),
			"say where with -t: -t local, -t web1, -t web1+sudo; or with -i and an inventory")
	case o.forks < 1:
		return usagef("--forks must be at least 1")
	case o.port < 0 || o.port > 65535:
		return usagef("bad port %d", o.port)
	}
	if err := o.checkIdentity(); err != nil {
		return err
	}
	for _, t := range o.targets {
		o.spots = append(o.spots, spot{t, []inventory.Way{{Name: t, Target: t}}, nil})
	}
	inv, err := s.addInventory(ctx)
	if err != nil {
		return err
	}
	o.addVia(inv)
	o.checkProxies()
	if err := o.checkSpots(); err != nil {
		return err
	}
	if o.retries < 0 {
		o.retries = 0
		if o.several() {
			o.retries = 2
		}
	}
	return nil
}

// checkIdentity looks for the file of --identity: without it, ssh would offer its default keys
// instead. What ssh expands, and files of a hop, can't be looked for here.
func (o *options) checkIdentity() error {
	expands := strings.HasPrefix(o.identity, "~") || strings.ContainsAny(o.identity, "%$")
	if o.identity == "" || o.sshFromHop || expands {
		return nil
	}
	if _, err := os.Stat(o.identity); err != nil {
		return usagef("--identity %s: %w", printable.Line(o.identity), errors.Unwrap(err))
	}
	return nil
}

// addInventory adds the hosts of -i. It returns an empty inventory if there is none.
func (s *state) addInventory(ctx context.Context) (*inventory.Inventory, error) {
	o := &s.opt
	if len(o.inventory) == 0 {
		return inventory.New(), nil
	}
	inv, err := inventory.Load(ctx, o.inventory, s.stdin)
	if err != nil {
		return nil, usagef("%w", err)
	}
	pattern := o.limit
	if pattern == "" {
		pattern = "all"
	}
	hosts, err := inv.Select(pattern)
	if err != nil {
		return nil, usagef("inventory %s: %w", strings.Join(o.inventory, ", "), err)
	}
	for _, w := range inv.Warnings() {
		s.ui.say("warning: inventory %s", w)
	}
	for _, h := range hosts {
		chain, err := inv.Chain(h)
		o.spots = append(o.spots, spot{h.Name, chain, err})
	}
	return inv, nil
}

// checkSpots fails if there is no way to any place. If some places can be tried, the errors of the
// rest are told with theirs.
func (o *options) checkSpots() error {
	for _, sp := range o.spots {
		if sp.err == nil {
			return nil
		}
	}
	return usagef("inventory %w", o.spots[0].err)
}

// addVia puts --via before what has no way of its own.
func (o *options) addVia(inv *inventory.Inventory) {
	for i := range o.spots {
		sp := &o.spots[i]
		if len(o.via) == 0 || len(sp.chain) != 1 {
			continue
		}
		via := o.via[i%len(o.via)]
		chain := []inventory.Way{{Name: via, Target: via}}
		if h := inv.Host(via); h != nil {
			if chain, sp.err = inv.Chain(h); sp.err != nil {
				continue
			}
		}
		sp.chain = append(slices.Clip(chain), sp.chain...)
	}
}

// checkProxies refuses hosts that are reached through a hop, and by ssh's own arguments through
// another host too: where the hop makes the connection, ssh would pass over these.
func (o *options) checkProxies() {
	for i := range o.spots {
		if sp := &o.spots[i]; sp.err == nil && !o.sshFromHop {
			sp.err = inventory.CheckProxies(sp.chain)
		}
	}
}

// addBulk adds the flags of commands that move data, and so set bulk.
func (o *options) addBulk(f *pflag.FlagSet) {
	f.BoolVar(&o.compress, "compress", false,
		"have ssh compress; for slow links, and data that can be compressed")
}

// several says that output of different targets has to be told apart.
func (o *options) several() bool { return len(o.spots) > 1 }

// level is the lowest that is logged.
func (o *options) level() slog.Level {
	switch {
	case o.quiet:
		return slog.LevelError
	case o.verbose == 0:
		return slog.LevelWarn
	case o.verbose == 1:
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

// connectOptions turns flags into options, and asks for the passwords that they want to be asked
// for.
func (s *state) connectOptions(ctx context.Context) (mitogen.ConnectOptions, error) {
	o := &s.opt
	c := mitogen.ConnectOptions{
		Options: connect.Options{
			Timeout: time.Duration(o.connectTimeout), Python: o.python,
			SSH: connect.SSHOptions{Args: o.sshArgs, ConfigFile: o.sshConfig, Port: o.port,
				IdentityFile: o.identity,
				HostKeys:     connect.HostKeys(o.hostKeys), FromHop: o.sshFromHop, Native: o.sshNative,
				CallsAhead: true, NoAhead: o.sshNoAhead},
			Sudo: connect.SudoOptions{Login: o.becomeLogin, SetHome: o.becomeSetHome},
			Su:   connect.SuOptions{Login: o.becomeLogin},
		},
		LogLevel: o.level(),
	}
	viaDaemon, err := o.viaDaemon()
	if err != nil {
		return c, err
	}
	if o.bulk && !o.compress && viaDaemon == nil { // whose connections are everybody's
		c.SSH.Compression = new(bool)
	}
	if c.Programs, err = o.programOptions(); err != nil {
		return c, err
	}
	for method, into := range map[string]struct {
		path *string
		args *[]string
	}{"ssh": {&c.SSH.Path, &c.SSH.Args}, "sudo": {&c.Sudo.Path, &c.Sudo.Args},
		"su": {&c.Su.Path, &c.Su.Args}, "doas": {&c.Doas.Path, &c.Doas.Args}} {
		*into.path = c.Programs[method].Path
		*into.args = append(*into.args, c.Programs[method].Args...)
	}
	for _, p := range []struct {
		what, env string
		value     secret.Secret // of env
		ask       bool
		fd        int
		into      *secret.Secret
	}{
		{"ssh password", sshPasswordVariable, s.sshPassword, o.askPass, o.askPassFD, &c.SSH.Password},
		{"become password", becomePasswordVariable, s.becomePassword, o.askBecome, o.askBecomeFD,
			&c.Sudo.Password},
	} {
		if *p.into, err = s.password(ctx, p.what, p.env, p.value, p.ask, p.fd); err != nil {
			return c, err
		}
	}
	c.Su.Password, c.Doas.Password = c.Sudo.Password, c.Sudo.Password
	c.Passwords, err = s.hopPasswords(ctx)
	return c, err
}

// programOptions reads --program and --program-arg.
func (o *options) programOptions() (map[string]connect.ProgramOptions, error) {
	all := map[string]connect.ProgramOptions{}
	known := func(flag, method string) error {
		if !slices.Contains(methods.Methods(), method) {
			return usagef("--%s: unknown method %s (methods: %s)", flag, quoted(method),
				strings.Join(methods.Methods(), ", "))
		}
		return nil
	}
	for method, path := range o.programs {
		if err := known("program", method); err != nil {
			return nil, err
		}
		all[method] = connect.ProgramOptions{Path: path}
	}
	for _, text := range o.programArgs {
		method, arg, ok := strings.Cut(text, "=")
		if !ok {
			return nil, usagef("--program-arg %s: not METHOD=ARGUMENT", quoted(text))
		}
		if err := known("program-arg", method); err != nil {
			return nil, err
		}
		p := all[method]
		p.Args = append(p.Args, arg)
		all[method] = p
	}
	return all, nil
}

// searchPath returns the places of modules, in their order: first, as Python does with a script's
// directories, then --path, then $MITOGEN_PATH, then what is installed in a virtual environment.
// close closes its files.
func (o *options) searchPath(first []string) (path *modules.Path, close func(), err error) {
	path = new(modules.Path)
	close = func() { path.Close() }
	dirs := append(slices.Clone(first), o.path...)
	dirs = append(dirs, filepath.SplitList(os.Getenv("MITOGEN_PATH"))...)
	for _, dir := range dirs {
		if dir == "" {
			continue
		}
		if err := path.Add(dir, true); err != nil {
			close()
			return nil, nil, usagef("search path: %w", err)
		}
	}
	if err := o.addVenv(path); err != nil {
		close()
		return nil, nil, usagef("search path: %w", err)
	}
	return path, close, nil
}

// directoryOf returns the current directory as a place of the search path, "" if it has no module
// or package of the name's first part: then the name is the target's own, and nothing here is of
// use there.
func directoryOf(module string) string {
	top, _, _ := strings.Cut(module, ".")
	for _, name := range []string{top, top + ".py"} {
		if _, err := os.Lstat(name); err == nil {
			return "."
		}
	}
	return ""
}

// addVenv adds the virtual environment of --venv, else the active one.
func (o *options) addVenv(path *modules.Path) error {
	venv := o.venv
	if venv == "" {
		venv = os.Getenv("VIRTUAL_ENV")
	}
	if venv == "" {
		return nil
	}
	dirs, err := modules.SitePackages(venv)
	if err != nil {
		if o.venv == "" {
			return nil // a shell's, of an environment that is gone
		}
		return err
	}
	for _, dir := range dirs {
		if err := path.AddSite(dir); err != nil {
			return err
		}
	}
	return nil
}

// modulesFrom tells own modules from installed ones.
func modulesFrom(path *modules.Path) (own, packages []fs.FS) {
	for _, e := range path.Entries {
		if e.Own {
			own = append(own, e.FS)
		} else {
			packages = append(packages, e.FS)
		}
	}
	return own, packages
}
