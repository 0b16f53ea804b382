package route

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/wire"
)

var update = flag.Bool("update", false, "rewrite the traces in testdata")

// TestScenarios replays testdata/*.txt: lines that aren't indented are events, and the indented
// lines behind an event are its results.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := replay(t, want)
			if *update {
				if err := os.WriteFile(file, got, 0o666); err != nil {
					t.Fatal(err)
				}
			} else if !bytes.Equal(got, want) {
				t.Errorf("%s has changed; -update, and read the diff. Got:\n%s", file, got)
			}
		})
	}
}

// replay returns the scenario with the trace that it makes now.
func replay(t *testing.T, text []byte) []byte {
	s := &scenario{r: New(0, nil, 1<<20)}
	var out bytes.Buffer
	for line := range strings.SplitSeq(strings.TrimSuffix(string(text), "\n"), "\n") {
		if strings.HasPrefix(line, "  ") {
			continue
		}
		fmt.Fprintln(&out, line)
		if line == "" || line[0] == '#' {
			continue
		}
		trace, err := s.do(line)
		if err != nil {
			t.Fatalf("do %s: %v", line, err)
		}
		for _, l := range trace {
			fmt.Fprintln(&out, "  "+l)
		}
	}
	return out.Bytes()
}

// scenario is a Router and the words of one line.
type scenario struct {
	r     *Router
	words []string          // positional
	opt   map[string]string // name=value
}

func (s *scenario) do(line string) ([]string, error) {
	s.words, s.opt = nil, map[string]string{}
	for _, w := range strings.Fields(line) {
		if k, v, ok := strings.Cut(w, "="); ok {
			s.opt[k] = v
		} else {
			s.words = append(s.words, w)
		}
	}
	cmd := commands[s.words[0]]
	if cmd == nil {
		return nil, errors.New("unknown command")
	}
	return cmd(s), nil
}

var commands = map[string]func(*scenario) []string{
	"engine": func(s *scenario) []string {
		s.r = New(0, nil, s.num("limit", 1<<20))
		return nil
	},
	"hop": func(s *scenario) []string {
		var up []wire.ContextID
		for a := range strings.SplitSeq(s.opt["up"], ",") {
			up = append(up, wire.ContextID(number(a)))
		}
		s.r = New(s.id(1), up, 1<<20)
		return nil
	},
	"add":   func(s *scenario) []string { return result(s.r.Add(s.id(1), s.id(2))) },
	"allow": func(s *scenario) []string { return result(s.r.Allow(s.id(1), s.id(2))) },
	"request": func(s *scenario) []string {
		return handleOr(s.r.Request(s.id(1), s.num("size", 0), s.opt["owner"]))
	},
	"listen": func(s *scenario) []string {
		return []string{fmt.Sprint("handle ", s.r.Listen(s.words[1]))}
	},
	"admit": func(s *scenario) []string { s.r.Admit(s.handle(1), s.id(2)); return nil },
	"bound": func(s *scenario) []string { s.r.Bound(s.num("port", 0), s.num("all", 0)); return nil },
	"expect": func(s *scenario) []string {
		s.r.Expect(s.handle(1), s.num("limit", 0), s.opt["collected"] != "")
		return nil
	},
	"held": func(s *scenario) []string {
		port, all := s.r.Held(s.id(1))
		return []string{fmt.Sprintf("%d behind %d, %d in all", port, s.id(1), all)}
	},
	"unlisten": func(s *scenario) []string { return trace(s.r.Unlisten(s.handle(1), nil)) },
	"frame":    func(s *scenario) []string { return trace(s.r.Step(s.id(1), s.frame(), nil)) },
	"lost":     func(s *scenario) []string { return trace(s.r.Lost(s.id(1), s.opt["why"], nil)) },
	"forget":   func(s *scenario) []string { return trace(s.r.Forget(s.handle(1), nil)) },
	"consumed": func(s *scenario) []string {
		return trace(s.r.Consumed(s.id(1), s.handle(2), number(s.words[3]), nil))
	},
	"reserve": func(s *scenario) []string {
		ok, err := s.r.Reserve(s.id(1), s.handle(2), number(s.words[3]))
		if err != nil {
			return result(err)
		}
		return []string{fmt.Sprint(ok)}
	},
	"idle": func(s *scenario) []string { return []string{fmt.Sprint(s.r.Idle())} },
}

// frame reads "frame PORT KIND src=… …"; auth is src's and dst 0 unless they are given.
func (s *scenario) frame() *wire.Frame {
	kinds := map[string]wire.Kind{"DATA": wire.Data, "DEAD": wire.Dead, "ERROR": wire.Error,
		"ITEM": wire.Item, "PART": wire.Part}
	f := &wire.Frame{Kind: kinds[s.words[2]], Src: wire.ContextID(s.num("src", number(s.words[1]))),
		Dst: wire.ContextID(s.num("dst", 0)), Handle: handleNamed(s.opt["handle"]),
		Reply: wire.Handle(s.num("reply", 0))}
	f.Auth = wire.ContextID(s.num("auth", int(f.Src)))
	f.Payload = []byte(s.opt["data"])
	if n := s.num("len", 0); n > 0 {
		f.Payload = make([]byte, n)
	}
	if l, ok := s.opt["lost"]; ok {
		f.Payload = wire.AppendLost(nil, wire.ContextID(number(l)), s.opt["why"])
	}
	if flow, n, ok := strings.Cut(s.opt["credit"], ","); ok {
		f.Payload = wire.AppendCredit(nil, handleNamed(flow), uint32(number(n)))
	}
	return f
}

func (s *scenario) num(name string, otherwise int) int {
	if v, ok := s.opt[name]; ok {
		return number(v)
	}
	return otherwise
}

func (s *scenario) id(i int) wire.ContextID  { return wire.ContextID(number(s.words[i])) }
func (s *scenario) handle(i int) wire.Handle { return handleNamed(s.words[i]) }

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

func handleNamed(s string) wire.Handle {
	for h := range wire.FirstDynamic {
		if h.String() == s {
			return h
		}
	}
	return wire.Handle(number(s))
}

func result(err error) []string {
	if err != nil {
		return []string{"error: " + err.Error()}
	}
	return nil
}

func handleOr(h wire.Handle, err error) []string {
	if err != nil {
		return result(err)
	}
	return []string{fmt.Sprint("handle ", h)}
}

func trace(actions []Action) []string {
	var out []string
	for _, a := range actions {
		out = append(out, a.trace())
	}
	return out
}

func (a *Action) trace() string {
	switch a.Op {
	case Send:
		return fmt.Sprintf("send to %d: %v%s", a.Port, a.Frame, shown(&a.Frame))
	case Deliver:
		s := fmt.Sprintf("deliver: %v%s", a.Frame, shown(&a.Frame))
		if a.Owner != nil {
			s += fmt.Sprintf(" owner %v", a.Owner)
		}
		if a.Cost > 0 {
			s += fmt.Sprintf(" cost %d", a.Cost)
		}
		if a.Kept > 0 {
			s += fmt.Sprintf(" kept %d", a.Kept)
		}
		return s
	case Left:
		return fmt.Sprintf("left: %d handle %d owner %v", a.ID, a.Handle, a.Owner)
	case Gone:
		return fmt.Sprintf("gone: %d: %s", a.ID, a.Why)
	case Denied:
		return fmt.Sprintf("denied: %d %v: %s", a.ID, a.Handle, a.Why)
	case Refused:
		return fmt.Sprintf("refused: %d %v: %s", a.ID, a.Handle, a.Why)
	case Broken:
		return fmt.Sprintf("broken: %d %v: %s: %s", a.ID, a.Handle, a.Rule, a.Why)
	case Pass:
		return fmt.Sprintf("pass: %v%s", a.Frame, shown(&a.Frame))
	case Late:
		return fmt.Sprintf("late: %d %v: %s", a.ID, a.Handle, a.Why)
	}
	return fmt.Sprintf("room: %d %v", a.ID, a.Handle)
}

func shown(f *wire.Frame) string {
	if f.Handle == wire.Credit {
		flow, n, err := wire.ParseCredit(f.Payload)
		if err != nil {
			return " " + err.Error()
		}
		return fmt.Sprintf(" (%d of flow %v)", n, flow)
	}
	if n := len(f.Payload); n > 0 && n <= 80 && f.Payload[0] != 0 {
		return fmt.Sprintf(" %q", f.Payload)
	}
	return ""
}
