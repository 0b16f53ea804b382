package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/mitogen-go/mitogen/internal/lazyregexp"
)

const buildUsage = `Builds mitogen-agent, which is what goes to targets without Python, for each
PLATFORM, as in linux/arm64: by default $GOOS and $GOARCH, else this machine's. The files are called
mitogen-agent-OS-ARCH, and --binaries finds them. The source is that of this version of mitogen: the
module in this directory, or what it requires, else what the Go module proxy has.

With --package it builds a Go program that uses the library, as NAME-OS-ARCH: for Go functions on
machines of other platforms (mitogen.Binaries in the program finds them).

It takes the Go toolchain, as "go" in PATH. The rest of Go's environment counts, too.`

const buildExamples = `  mitogen build linux/arm64
  mitogen build -o agents linux/amd64 linux/arm64
  mitogen exec -A -t router --binaries agents -- uname -m
  mitogen build --package ./cmd/app -o binaries linux/arm64 freebsd/amd64`

func newBuild(s *state) *cobra.Command {
	b := &builder{s: s}
	cmd := command(s, &cobra.Command{
		Use:               "build [-o DIRECTORY] [--package PACKAGE] [PLATFORM...]",
		Short:             "build what goes to machines without Python, or of other platforms",
		Long:              buildUsage,
		Example:           buildExamples,
		ValidArgsFunction: completePlatform,
	}, func(ctx context.Context, _ *state, args []string) error { return b.run(ctx, args) })
	cmd.Flags().SetInterspersed(true)
	cmd.Flags().StringVarP(&b.dir, "output", "o", ".", "write the files into `DIRECTORY`")
	cmd.Flags().StringVar(&b.program, "package", "", "build the program in `PACKAGE`, not the agent")
	cmd.Flags().BoolVar(&s.opt.json, "json", false, "print one JSON object a line for each file")
	cmd.Flags().BoolVar(&s.opt.noColor, "no-color", false, "no colours; so does $NO_COLOR")
	return cmd
}

// builder builds for platforms.
type builder struct {
	s       *state
	dir     string // of the files
	program string // package; "": the agent

	goTool string
	from   string // directory in which the go command is called; "": this one
}

// built is a file in the output of --json.
type built struct {
	Platform string `json:"platform"`
	File     string `json:"file"`
	Bytes    int64  `json:"bytes"`
	Version  string `json:"version,omitempty"` // of an agent
}

// ourModule is the path of this module.
const ourModule = "github.com/mitogen-go/mitogen"

// agentSystems are those that a Go context runs on.
var agentSystems = []string{"linux", "darwin", "freebsd"}

// errNoGo says that there is no toolchain.
var errNoGo = errors.New("no Go toolchain: there is no go in PATH")

func (b *builder) run(ctx context.Context, args []string) (err error) {
	if b.goTool, err = exec.LookPath("go"); err != nil {
		hint := "https://go.dev/dl has it"
		if b.program == "" {
			hint += "; a release of mitogen has mitogen-agent-VERSION-OS-ARCH for --binaries"
		}
		return withHint(errNoGo, hint)
	}
	platforms, err := b.platforms(ctx, args)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(b.dir, 0o777); err != nil {
		return err
	}
	if b.dir, err = filepath.Abs(b.dir); err != nil {
		return err
	}
	one := b.buildAgent
	if b.program == "" {
		remove, err := b.findSource(ctx)
		defer remove()
		if err != nil {
			return err
		}
	} else if one, err = b.programBuilder(ctx); err != nil {
		return err
	}
	for _, p := range platforms {
		made, err := one(ctx, p)
		if err != nil {
			return fmt.Errorf("build for %s: %w", p, err)
		}
		if err := b.tell(made); err != nil {
			return err
		}
	}
	return nil
}

// tell prints what was built.
func (b *builder) tell(made built) error {
	st, err := os.Stat(made.File)
	if err != nil {
		return err
	}
	made.Bytes = st.Size()
	if b.s.opt.json {
		return b.s.ui.json(b.s.ui.out, made, "")
	}
	return b.s.ui.page(b.s.ui.out).add("%s: %s, %.1f MB", made.File, made.Platform,
		float64(made.Bytes)/1e6).end().print()
}

// platforms checks those that are asked for.
func (b *builder) platforms(ctx context.Context, args []string) ([]string, error) {
	if len(args) == 0 {
		args = []string{cmp.Or(os.Getenv("GOOS"), runtime.GOOS) + "/" +
			cmp.Or(os.Getenv("GOARCH"), runtime.GOARCH)}
	}
	out, err := b.command(ctx, nil, "tool", "dist", "list")
	if err != nil {
		return nil, err
	}
	known := strings.Fields(string(out))
	for _, p := range args {
		system, _, _ := strings.Cut(p, "/")
		switch {
		case !slices.Contains(known, p):
			return nil, withHint(fmt.Errorf("unknown platform %s, want one as linux/arm64", quoted(p)),
				"go tool dist list prints all that this Go has")
		case !slices.Contains(agentSystems, system):
			return nil, usagef("no Go context runs on %s: want a platform of %s", p,
				strings.Join(agentSystems, ", "))
		}
	}
	return args, nil
}

// completePlatform completes what releases are made for.
func completePlatform(_ *cobra.Command, _ []string, typed string) ([]string,
	cobra.ShellCompDirective) {
	var all []string
	for _, p := range []string{"linux/amd64", "linux/arm64", "linux/arm", "linux/386", "linux/riscv64",
		"linux/ppc64le", "linux/s390x", "darwin/amd64", "darwin/arm64", "freebsd/amd64",
		"freebsd/arm64"} {
		if strings.HasPrefix(p, typed) {
			all = append(all, p)
		}
	}
	return all, cobra.ShellCompDirectiveNoFileComp
}

// maxGoText bounds what an error shows of the go command's messages, in bytes.
const maxGoText = 4 << 10

// command executes the go command with more variables and returns what it prints.
func (b *builder) command(ctx context.Context, env []string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, b.goTool, args...)
	cmd.Dir = b.from
	cmd.Env = append(os.Environ(), env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		said := strings.TrimSpace(errs.String())
		for len(said) > maxGoText || !utf8.ValidString(said) {
			said = strings.ToValidUTF8(said[:min(len(said), maxGoText)], "?")
		}
		return nil, fmt.Errorf("go %s: %w: %s", args[0], err, said)
	}
	return out.Bytes(), nil
}

// target returns the variables for a platform.
func target(platform string) []string {
	system, machine, _ := strings.Cut(platform, "/")
	return []string{"GOOS=" + system, "GOARCH=" + machine, "CGO_ENABLED=0"}
}

// agentFlags make an agent what it is in a release: scripts/build-agent.sh.
func agentFlags() []string {
	return []string{"-tags", "mitogen_agent", "-gcflags=all=-l", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -buildid= -X main.stamp=" + agentStamp + versionText() + "/"}
}

func (b *builder) buildAgent(ctx context.Context, platform string) (built, error) {
	made := built{Platform: platform, Version: versionText(), File: filepath.Join(b.dir,
		"mitogen-agent-"+strings.Replace(platform, "/", "-", 1))}
	args := append([]string{"build", "-o", made.File}, agentFlags()...)
	args = append(args, ourModule+"/cmd/mitogen-agent")
	if _, err := b.command(ctx, target(platform), args...); err != nil {
		return made, err
	}
	binary, err := os.ReadFile(made.File)
	if err != nil {
		return made, err
	}
	return made, checkAgent(made.File, binary)
}

// released is a version that the Go module proxy may have.
var released = lazyregexp.New(`^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)

// A goModule has the fields of a module that "go list -m -json" prints.
type goModule struct {
	Version, Dir string
	Main         bool
	Replace      *goModule
}

// findSource sets from to a directory whose module has the source of this version. remove removes
// what was made for that.
func (b *builder) findSource(ctx context.Context) (remove func(), err error) {
	remove = func() {}
	out, err := b.command(ctx, nil, "list", "-m", "-json", ourModule)
	var m goModule
	if err == nil && json.Unmarshal(out, &m) == nil {
		return remove, b.checkSource(ctx, &m)
	}
	if ctx.Err() != nil {
		return remove, context.Cause(ctx)
	}
	version := versionText()
	if !released.MatchString(version) {
		return remove, withHint(fmt.Errorf("no source of mitogen %s: it is no release, and no module "+
			"here uses mitogen", version), "call mitogen build in the source that this program is of")
	}
	if b.from, err = os.MkdirTemp("", "mitogen-build-"); err != nil {
		return remove, err
	}
	remove = func() { os.RemoveAll(b.from) }
	if _, err := b.command(ctx, nil, "mod", "init", "mitogen.invalid/build"); err != nil {
		return remove, err
	}
	_, err = b.command(ctx, nil, "get", ourModule+"/cmd/mitogen-agent@"+version)
	return remove, err
}

// checkSource returns an error if a module is of another version than this program.
func (b *builder) checkSource(ctx context.Context, m *goModule) error {
	if m.Replace != nil {
		m.Version, m.Dir, m.Main = m.Replace.Version, m.Replace.Dir, m.Replace.Version == ""
	}
	got, revision := m.Version, ""
	if m.Main {
		got = gitText(ctx, m.Dir, "describe", "--tags", "--always", "--dirty")
		revision = gitText(ctx, m.Dir, "rev-parse", "--short=12", "HEAD")
	}
	want := versionText()
	switch {
	case got == want:
	case got == "" && !released.MatchString(want): // a copy without its history
	case revision != "" && strings.Contains(want, revision) &&
		strings.HasSuffix(want, "dirty") == strings.HasSuffix(got, "dirty"): // as go build names it
	default:
		return withHint(fmt.Errorf("the source of mitogen in %s is of version %s, this program of %s",
			m.Dir, cmp.Or(got, "unknown"), want), "build mitogen of that source, or change what go.mod "+
			"requires")
	}
	return nil
}

// gitText returns what git prints about a directory; "": it can't say.
func gitText(ctx context.Context, dir string, args ...string) string {
	out, _ := exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...).Output()
	return strings.TrimSpace(string(out))
}

// programBuilder returns what builds the user's program.
func (b *builder) programBuilder(ctx context.Context) (func(context.Context, string) (built, error),
	error) {
	const form = `{{.Name}}|{{.Target}}|{{join .Deps " "}}`
	out, err := b.command(ctx, nil, "list", "-f", form, b.program)
	if err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	fields := strings.SplitN(lines[0], "|", 3)
	switch {
	case len(lines) > 1:
		return nil, usagef("--package %s: it is %d packages, want one", b.program, len(lines))
	case len(fields) < 3 || fields[0] != "main":
		return nil, usagef("--package %s: it is no program, want a package main", b.program)
	case !slices.Contains(strings.Fields(fields[2]), ourModule):
		return nil, usagef("--package %s: it doesn't use %s, so no copy of it serves as a context",
			b.program, ourModule)
	}
	name := filepath.Base(fields[1])
	return func(ctx context.Context, platform string) (built, error) {
		made := built{Platform: platform, File: filepath.Join(b.dir,
			name+"-"+strings.Replace(platform, "/", "-", 1))}
		_, err := b.command(ctx, target(platform), "build", "-trimpath", "-ldflags", "-s -w", "-o",
			made.File, b.program)
		return made, err
	}, nil
}
