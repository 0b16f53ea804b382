package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/report"
)

const doctorUsage = `Walks to each target hop by hop, and says for each what is run, how long each
phase takes, what answers, and where it fails what came back and what to do
about it. Says first what the kernel of this machine restricts mitogen to.`

func newDoctor(s *state) *cobra.Command {
	cmd := command(s, &cobra.Command{
		Use:   "doctor -t TARGET... [flags]",
		Short: "find out what is wrong with a connection",
		Long:  doctorUsage,
		Example: `  mitogen doctor -t bastion+web1+sudo
  mitogen doctor -i hosts -l web1 --json`,
		Args: cobra.NoArgs,
	}, func(ctx context.Context, s *state, _ []string) error { return doctor(ctx, s) })
	s.opt.addTargets(cmd)
	return cmd
}

// examined has the findings about one hop.
type examined struct {
	Host    string             `json:"host"`
	Hop     string             `json:"hop"`
	Target  string             `json:"target"` // up to here
	Runs    []string           `json:"runs"`   // where … stands for what starts the interpreter
	Where   string             `json:"where"`  // that it is run
	Seconds map[string]float64 `json:"seconds"`
	Python  string             `json:"python,omitempty"`
	Is      string             `json:"is,omitempty"` // hostname, uid, pid
	Checks  []check            `json:"checks,omitempty"`
	Error   *problem           `json:"error,omitempty"`
	Hint    string             `json:"hint,omitempty"`

	Confined *confined `json:"confined"` // this machine, not the hop
}

// check is something else that was looked at.
type check struct {
	What string `json:"what"`
	Text string `json:"text"`
	Bad  bool   `json:"bad,omitempty"`
}

func doctor(ctx context.Context, s *state) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	options, err := s.connectOptions(ctx)
	if err != nil {
		return err
	}
	tell, err := s.auditor()
	if err != nil {
		return err
	}
	secrets, err := s.opt.secrets.source()
	if err != nil {
		return err
	}
	eng, err := mitogen.New(mitogen.Options{Logger: s.newLogger(), Prompt: s.prompter(),
		Secrets: secrets, Audit: tell, Heartbeat: time.Duration(s.opt.heartbeat)})
	if err != nil {
		return err
	}
	defer eng.Close()
	s.printConfined(newConfined())
	status := 0
	for i := range s.opt.spots {
		if !s.examine(ctx, eng, options, &s.opt.spots[i]) {
			status = exitConnection
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	if status != 0 {
		return exitError(status)
	}
	return nil
}

// examine walks to one target and says whether it got there.
func (s *state) examine(ctx context.Context, eng *mitogen.Engine, base mitogen.ConnectOptions,
	sp *spot) bool {
	var via *mitogen.Context
	if sp.err != nil {
		x := &examined{Host: sp.name, Hop: sp.name, Confined: newConfined()}
		x.Seconds, x.Error = map[string]float64{}, describe(&wayError{sp.err}, false)
		s.printExamined(x)
		return false
	}
	for i := range sp.chain {
		way := &sp.chain[i]
		hops, err := methods.ParseTarget(way.Target)
		must(err) // was looked at before
		for j, h := range hops {
			o := optionsOfHop(merged(optionsAt(base, sp.chain, i), &way.Options), via, hops, j)
			o.Via = via
			x := &examined{Host: sp.name, Hop: h.String(), Seconds: map[string]float64{},
				Confined: newConfined()}
			via = x.walk(ctx, eng, h, o)
			s.printExamined(x)
			if via == nil {
				return false
			}
		}
	}
	return true
}

// walk connects one hop; nil: that failed.
func (x *examined) walk(ctx context.Context, eng *mitogen.Engine, h methods.Hop,
	o mitogen.ConnectOptions) *mitogen.Context {
	x.Where = "this machine"
	if o.Via != nil && (h.Method != "ssh" || o.SSH.FromHop) {
		x.Where = o.Via.Name()
	} else if o.Via != nil {
		x.Where = "this machine, connected by " + o.Via.Name()
	}
	plan, err := h.Plan([]string{"…"}, connect.Options{
		SSH: o.SSH, Sudo: o.Sudo, Su: o.Su, Doas: o.Doas, Console: o.Console, Programs: o.Programs},
		o.Via == nil || h.Method == "ssh" && !o.SSH.FromHop)
	if err == nil {
		x.Runs = plan.Argv
		if plan.Line != nil {
			x.Runs = plan.Line.Opens()
		}
	}
	began := time.Now()
	c, err := eng.Start(h.String(), o)
	if err != nil {
		x.Error = describe(err, false)
		return nil
	}
	x.Target = c.Name()
	info, err := c.Info(ctx)
	st := c.Stats()
	for what, d := range map[string]time.Duration{"started": st.Spawn, "interpreter": st.EC0,
		"answered": st.Hello} {
		if d > 0 {
			x.Seconds[what] = d.Seconds()
		}
	}
	for _, step := range st.Steps {
		x.Seconds[step.Name] = step.After.Seconds()
	}
	if err != nil {
		x.Seconds["failed"] = time.Since(began).Seconds()
		x.Error = describe(err, false)
		x.Hint = x.Error.hint
		return nil
	}
	x.Python = pythonOf(info) + ", " + printable.Name(info.Executable)
	x.Is = fmt.Sprintf("%s, %s, uid %d, pid %d", printable.Name(info.Hostname),
		printable.Name(info.Platform), info.UID, info.PID)
	x.look(ctx, c)
	return c
}

// look tries what else may be wrong there.
func (x *examined) look(ctx context.Context, c *mitogen.Context) {
	best := time.Duration(0)
	for range 5 {
		d, err := c.Ping(ctx)
		if err != nil {
			x.Checks = append(x.Checks, check{"round trip", printable.Line(err.Error()), true})
			return
		}
		if best == 0 || d < best {
			best = d
		}
	}
	x.Seconds["round trip"] = best.Seconds()
	for _, probe := range []struct {
		what, function string
		args           []any
	}{
		{"working directory", "os:getcwd", nil},
		{"system", "platform:platform", nil},
		{"temporary files", "tempfile:gettempdir", nil},
	} {
		v, err := mitogen.Call[string](ctx, c, probe.function, probe.args...)
		ch := check{What: probe.what, Text: printable.Line(v)}
		if call := (*report.CallError)(nil); errors.As(err, &call) {
			ch.Text, ch.Bad = printable.Line(call.Error()), true
		} else if err != nil {
			ch.Text, ch.Bad = printable.Line(err.Error()), true
		}
		x.Checks = append(x.Checks, ch)
	}
}

// moments are the keys of Seconds, in their order.
var moments = []string{
	"opened", "logged in", "shell", "first code", "link",
	"started", "interpreter", "answered", "failed", "round trip",
}

func (s *state) printExamined(x *examined) {
	if s.opt.json {
		s.ui.json(s.ui.out, x, "")
		return
	}
	pg := s.ui.page(s.ui.out)
	pg.bold(x.Hop).end()
	line := func(what, text string) { pg.add("  %-12s %s", what, text).end() }
	if len(x.Runs) > 0 {
		line("runs", shellLine(x.Runs))
		line("on", x.Where)
	}
	var times []string
	for _, what := range moments {
		if t, ok := x.Seconds[what]; ok {
			times = append(times, fmt.Sprintf("%s %v", what,
				time.Duration(t*float64(time.Second)).Round(10*time.Microsecond)))
		}
	}
	if len(times) > 0 {
		line("times", strings.Join(times, ", "))
	}
	if x.Python != "" {
		line("python", x.Python)
		line("is", x.Is)
	}
	for _, c := range x.Checks {
		pg.add("  %-12s %s: ", "", c.What)
		if c.Bad {
			pg.red("failed").add(": ")
		}
		pg.add("%s", c.Text).end()
	}
	if p := x.Error; p != nil {
		pg.add("  ").red("failed").add("%-6s %s", "", p.Message).end()
		if p.Phase != "" {
			line("phase", p.Phase)
		}
		for l := range strings.Lines(p.Text) {
			line("said", strings.TrimRight(l, "\r\n"))
		}
		if p.hint != "" {
			line("do", p.hint)
		}
	}
	pg.print()
}

// shellLine shows a command as one could type it.
func shellLine(words []string) string {
	plain := slices.Clone(words)
	for i, w := range plain {
		if w == "" || strings.ContainsAny(w, " \t'\"\\$`|&;<>()*?#~!") {
			plain[i] = methods.QuoteCommand([]string{w})
		}
	}
	return strings.Join(plain, " ")
}
