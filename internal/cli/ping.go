package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/report"
)

const pingUsage = `Connects to each target, says what answers there, and measures the round trip of
a message.`

const pingExamples = `  mitogen ping -t web1
  mitogen ping -t bastion+web1+sudo -c 5
  mitogen ping -t web1,web2,web3 --json`

func newPing(s *state) *cobra.Command {
	count := 1
	cmd := command(s, &cobra.Command{
		Use:     "ping -t TARGET... [-c N] [flags]",
		Short:   "connect and measure round trips",
		Long:    pingUsage,
		Example: pingExamples,
	}, func(ctx context.Context, s *state, args []string) error { return ping(ctx, s, count, args) })
	cmd.Flags().IntVarP(&count, "count", "c", 1, "how many messages to send")
	s.opt.addTargets(cmd)
	return cmd
}

func ping(ctx context.Context, s *state, count int, args []string) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	switch {
	case len(args) > 0:
		return usagef("unexpected argument %s", quoted(args[0]))
	case count < 1:
		return usagef("--count must be at least 1")
	}
	return s.job(ctx, nil, s.printPing, func(ctx context.Context, h *host) error {
		if err := h.connect(h.stderr); err != nil {
			return err
		}
		return h.ping(ctx, count)
	})
}

// pinged is the result of a ping in the output of --json.
type pinged struct {
	Python   string    `json:"python"` // implementation and version
	Platform string    `json:"platform"`
	Hostname string    `json:"hostname"`
	UID      int       `json:"uid"`
	PID      int       `json:"pid"`
	Seconds  []float64 `json:"seconds"` // each round trip
}

func (h *host) ping(ctx context.Context, count int) error {
	info, err := h.context.Info(ctx)
	if err != nil {
		return err
	}
	p := pinged{Python: pythonOf(info), Platform: info.Platform, Hostname: info.Hostname,
		UID: info.UID, PID: info.PID}
	h.say("up in %s: %s, %s, %s, uid %d, pid %d", round(h.context.Stats().Hello),
		printable.Name(p.Hostname), p.Python,
		printable.Name(p.Platform), p.UID, p.PID)
	var all []time.Duration
	for range count {
		d, err := h.context.Ping(ctx)
		if err != nil {
			return err
		}
		all = append(all, d)
		p.Seconds = append(p.Seconds, seconds(d))
		h.say("round trip %s", round(d))
	}
	if count > 1 {
		slices.Sort(all)
		h.say("%d round trips: fastest %s, median %s, slowest %s", count, round(all[0]),
			round(all[count/2]),
			round(all[count-1]))
	}
	h.result, err = json.Marshal(p)
	return err
}

// say prints a line about a target, which is always named.
func (h *host) say(format string, args ...any) {
	if h.fleet.s.opt.json {
		return
	}
	text := printable.Line(fmt.Sprintf(format, args...))
	if !h.fleet.s.opt.several() {
		text = printable.Name(h.target) + ": " + text
	}
	io.WriteString(h.stdout, text+"\n")
}

func pythonOf(i report.Info) string {
	return fmt.Sprintf("%s %d.%d.%d", printable.Name(i.Implementation), i.Version[0], i.Version[1],
		i.Version[2])
}

// round shows three digits or so.
func round(d time.Duration) time.Duration {
	for unit := time.Second; unit > time.Microsecond; unit /= 10 {
		if d >= unit {
			return d.Round(unit / 100)
		}
	}
	return d.Round(10 * time.Nanosecond)
}

func (s *state) printPing(h *host) {
	if s.opt.json {
		h.printJSON(record{Result: h.result})
		return
	}
	h.tell()
}
