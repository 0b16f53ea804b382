package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/daemonclient"
	"github.com/mitogen-go/mitogen/internal/testpython"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/report"
)

// fieldsShown are the fields of texts that fakehost fills, and that some command has to show: a
// field that none shows has not been looked at.
var fieldsShown = []string{
	"noise before",
	"last words",
	"hello.implementation",
	"hello.platform",
	"hello.hostname",
	"hello.executable",
	"log.logger",
	"log.message",
	"log.traceback",
	"stdout",
	"stderr",
	"module asked for",
	"noise after",
	"result.key",
	"result.text",
	"dead",
	"end",
	"corrupt",
	"error.module",
	"error.type",
	"error.text",
	"error.traceback",
	"connect.dead",
	"lost.why",
	"failure.text",
}

// fieldsHidden are those that no command shows, with the reason.
var fieldsHidden = map[string]string{
	"error.args":      "for programs",
	"failure.what":    "compared with known words",
	"connect.garbage": "no pickle",
	"global.module":   "refused unread",
	"unknown handle":  "refused unread",
	"lost of nobody":  "refused unread",
	"package":         "counted",
	"file asked for":  "counted",
}

// framesWithText has every handle that contexts may send to, with the fields of text that its
// frames have.
var framesWithText = map[wire.Handle][]string{
	wire.Hello: {
		"hello.implementation",
		"hello.platform",
		"hello.hostname",
		"hello.executable",
	},
	wire.Stdout:    {"stdout"},
	wire.Stderr:    {"stderr"},
	wire.Log:       {"log.logger", "log.message", "log.traceback"},
	wire.GetModule: {"module asked for"},
	wire.GetFile:   {"package", "file asked for"},
	wire.Lost:      {"lost.why", "lost of nobody"},
	wire.Lacks:     nil, // names that are compared
	wire.Dropped:   nil, // numbers
	wire.Credit:    nil,
	wire.Ping:      nil,
	wire.Do:        nil, // of the program, as the next two
	wire.Prepare:   nil,
	wire.Want:      nil,
	wire.Fan:       nil, // of the engine
}

// structs lists the types that hold texts of contexts. Each field has the field of fakehost that
// reaches it; a dash marks text of the engine or the user.
var structs = map[reflect.Type]map[string]string{
	reflect.TypeFor[report.Info](): {
		"Implementation": "hello.implementation",
		"Platform":       "hello.platform",
		"Hostname":       "hello.hostname",
		"Executable":     "hello.executable",
		"Machine":        "-", // of Go contexts, as the next: no command starts one
		"Functions":      "-",
	},
	reflect.TypeFor[report.CallError](): {
		"Context":   "-",
		"Module":    "error.module",
		"Type":      "error.type",
		"Text":      "error.text",
		"Traceback": "error.traceback",
	},
	reflect.TypeFor[report.LostError](): {
		"Context": "-",
		"Hop":     "-",
		"Code":    "-",
		"Reason":  "lost.why",
		"Text":    "end",
	},
	reflect.TypeFor[connect.Error](): {"Hop": "-", "Target": "-", "Method": "-", "Phase": "-",
		"Text": "failure.text", "Summary": "-", "Quote": "failure.text", "Hint": "-"},
	reflect.TypeFor[connect.Prompt](): {"Hop": "-", "Text": "prompt"},
	reflect.TypeFor[report.Event](): {
		"Kind":    "-",
		"Context": "-",
		"Method":  "-",
		"Host":    "hello.hostname",
		"User":    "-",
		"Name":    "-",
		"Outcome": "-",
		"Reason":  "module asked for",
	},
	reflect.TypeFor[daemonclient.Context](): {
		"Name":     "-",
		"Python":   "hello.implementation",
		"Hostname": "hello.hostname",
	},
	reflect.TypeFor[problem](): {
		"Kind":      "-",
		"Message":   "error.text",
		"Code":      "-",
		"Hop":       "-",
		"Phase":     "-",
		"Traceback": "error.traceback",
		"Text":      "failure.text",
		"hint":      "-",
	},
	reflect.TypeFor[examined](): {
		"Host":   "-",
		"Hop":    "-",
		"Target": "-",
		"Where":  "-",
		"Python": "hello.implementation",
		"Is":     "hello.hostname",
		"Hint":   "-",
	},
	reflect.TypeFor[check](): {"What": "-", "Text": "error.text"},
	reflect.TypeFor[pinged](): {
		"Python":   "hello.implementation",
		"Platform": "hello.platform",
		"Hostname": "hello.hostname",
	},
	reflect.TypeFor[record]():         {"Host": "-"},
	reflect.TypeFor[givenFile]():      {"Path": "-"},
	reflect.TypeFor[contextProfile](): {"Name": "-"},
}

// A new field of text has to be in the tables above, and a field in the tables has to be filled by
// fakehost.
func TestTableOfTexts(t *testing.T) {
	source, err := os.ReadFile("fakehost_test.go")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"-": true, "prompt": true}
	for _, f := range fieldsShown {
		known[f] = true
	}
	for f := range fieldsHidden {
		known[f] = true
	}
	filled := map[string]bool{"-": true, "prompt": true}
	calls := regexp.MustCompile(`poisoned(?:Bytes)?\(\s*"(.*?)"`)
	for _, m := range calls.FindAllStringSubmatch(string(source), -1) {
		filled[m[1]] = true
		if !known[m[1]] {
			t.Errorf("field %s of fakehost is in no table", m[1])
		}
	}
	for f := range known {
		if !filled[f] {
			t.Errorf("fakehost never fills %s", f)
		}
	}
	for h := wire.Handle(1); h < wire.FirstDynamic; h++ {
		fields, ok := framesWithText[h]
		if named := !strings.ContainsAny(h.String(), "0123456789"); named && h >= wire.Hello &&
			!ok {
			t.Errorf("frames for %v are in no table", h)
		}
		for _, f := range fields {
			if !known[f] {
				t.Errorf("field %s of %v is in no table", f, h)
			}
		}
	}
	for typ, fields := range structs {
		for i := range typ.NumField() {
			f := typ.Field(i)
			if f.Type.Kind() == reflect.String && !known[fields[f.Name]] {
				t.Errorf(
					"%v.%s: got %q, want a field of the tables, or a dash",
					typ,
					f.Name,
					fields[f.Name],
				)
			}
		}
	}
}

// harm returns what is wrong with an output; "" is nothing. Colours are allowed on a terminal.
func harm(out string, terminal bool, forgeries []string) string {
	if terminal {
		if strings.Contains(out, "\x1b[31m") {
			return "a colour that isn't ours"
		}
		out = regexp.MustCompile(`\x1b\[[0-9;]*m|\r\x1b\[K`).ReplaceAllString(out, "")
		out = strings.ReplaceAll(out, "\r\n", "\n")
	}
	if !utf8.ValidString(out) {
		return "no UTF-8"
	}
	for _, r := range out {
		if r != '\n' && r != ' ' &&
			(unicode.IsControl(r) || unicode.IsSpace(r) ||
				unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co, unicode.Cs,
					unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)) {
			return fmt.Sprintf("character %U", r)
		}
	}
	for line := range strings.Lines(out) {
		for _, forged := range forgeries {
			if strings.HasPrefix(line, forged) {
				return fmt.Sprintf("line %q", line)
			}
		}
	}
	return ""
}

// outputs are commands that show what hosts say. Each is run with every way in which fakehost
// answers.
var outputs = map[string][]string{
	"call":           {"call", "-t", "exec:fakehost", "os:getpid"},
	"call json":      {"call", "-t", "exec:fakehost", "--json", "os:getpid"},
	"call debug":     {"call", "-t", "exec:fakehost", "-vv", "--stats", "-", "os:getpid"},
	"call several":   {"call", "-t", "exec:fakehost", "-t", "exec:fakehost", "-v", "os:getpid"},
	"call behind":    {"call", "-t", "exec:fakehost+local", "-v", "os:getpid"},
	"behind json":    {"call", "-t", "exec:fakehost+local", "--json", "os:getpid"},
	"ping":           {"ping", "-t", "exec:fakehost"},
	"ping json":      {"ping", "-t", "exec:fakehost", "--json"},
	"ping several":   {"ping", "-t", "exec:fakehost", "-t", "exec:fakehost"},
	"run several":    {"run", "-t", "exec:fakehost", "-t", "exec:fakehost", "-c", "pass"},
	"run json":       {"run", "-t", "exec:fakehost", "--json", "-c", "pass"},
	"doctor":         {"doctor", "-t", "exec:fakehost"},
	"doctor json":    {"doctor", "-t", "exec:fakehost", "--json"},
	"doctor behind":  {"doctor", "-t", "exec:fakehost+local", "-v"},
	"call audit":     {"call", "-t", "exec:fakehost", "--audit", "/dev/stdin", "os:getpid"},
	"call by daemon": {"call", "-t", "exec:fakehost", "--daemon", "os:getpid"},
}

// shown notes which fields were shown.
type shown struct {
	mu   sync.Mutex // protects seen
	seen map[string]bool
}

func (s *shown) note(out string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range regexp.MustCompile(`@([a-z. ]+)@`).FindAllStringSubmatch(out, -1) {
		s.seen[m[1]] = true
	}
}

// No text of a host acts on a terminal, or begins a line that it could not have written, in the
// output of any command. With -short one pair in four is tried.
func TestTextsOfHostsAreHarmless(t *testing.T) {
	s := &shown{seen: map[string]bool{}}
	t.Run("ways", func(t *testing.T) {
		for _, how := range []string{"error", "result", "dead", "end", "corrupt", "unshown", "no hello"} {
			for name, args := range outputs {
				t.Run(how+"/"+name, func(t *testing.T) {
					testpython.OneIn(t, 1)
					t.Parallel()
					s.look(t, how, args)
				})
			}
		}
	})
	for _, f := range fieldsShown {
		if !s.seen[f] && !testing.Short() {
			t.Errorf("no command has shown %s", f)
		}
	}
}

// look runs a command and looks at its outputs.
func (s *shown) look(t *testing.T, how string, args []string) {
	t.Helper()
	dir := t.TempDir()
	log := filepath.Join(dir, "audit")
	args = slices.Clone(args)
	for i, a := range args {
		if a == "/dev/stdin" {
			args[i] = log
		}
	}
	cmd := exec.Command("mitogen", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "FAKE="+how, "MITOGEN_CONFIG=")
	daemon := slices.Contains(args, "--daemon")
	if daemon {
		cmd.Env = append(cmd.Env, "MITOGEN_SOCKET="+startDaemon(t))
	}
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	s.harmless(t, "stdout", stdout.String(), forgeries)
	s.harmless(t, "stderr", stderr.String(), others(args))
	if text, err := os.ReadFile(log); err == nil {
		s.harmless(t, "audit log", string(text), forgeries)
	}
	if daemon {
		for _, more := range [][]string{{"tree"}, {"tree", "--json"}} {
			tree := exec.Command("mitogen", more...)
			tree.Env = cmd.Env
			out, _ := tree.CombinedOutput()
			s.harmless(t, "tree", string(out), forgeries)
		}
	}
}

// Forgeries that standard error mustn't have. If there is no other target, a function's text there
// has no name before it, so that it can't be another target's.
func others(args []string) []string {
	if slices.Contains([]string{"call", "ping"}, args[0]) &&
		strings.Count(strings.Join(args, " "), "-t ") == 1 {
		return ofProgram
	}
	return forgeries
}

func (s *shown) harmless(t *testing.T, name, out string, forgeries []string) {
	t.Helper()
	s.note(out)
	if wrong := harm(out, false, forgeries); wrong != "" {
		t.Errorf("%s: got %s in %q", name, wrong, out)
	}
}

// On a terminal too, where there are colours and progress.
func TestTextsOnTerminal(t *testing.T) {
	t.Setenv("FAKE", "error")
	for _, args := range [][]string{
		{"run", "-t", "exec:fakehost", "-t", "exec:fakehost", "-c", "pass"},
		{"call", "-t", "exec:fakehost", "-vv", "os:getpid"},
		{"doctor", "-t", "exec:fakehost"},
	} {
		c := startConsole(t, args...)
		c.status()
		text := c.text()
		if wrong := harm(text, true, others(args)); wrong != "" || !strings.Contains(text, "@") {
			t.Errorf("%q: got %s in %q", args, wrong, text)
		}
	}
}

// What a lone target's program writes is passed byte for byte, as ssh does.
func TestFidelity(t *testing.T) {
	cmd := exec.Command("mitogen", "run", "-q", "-t", "exec:fakehost", "-c", "pass")
	cmd.Env = append(os.Environ(), "FAKE=result")
	var stdout strings.Builder
	cmd.Stdout = &stdout
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if got := stdout.String(); got != poisonedBytes("stdout") {
		t.Errorf("got %q, want %q", got, poisonedBytes("stdout"))
	}
}

// Each line of a question stands behind the name of the hop that asks.
func TestQuestionsAreHarmless(t *testing.T) {
	text := question(connect.Prompt{Hop: "web1", Text: poisoned("prompt")})
	if wrong := harm(text, false, forgeries); wrong != "" {
		t.Errorf("got %s in %q", wrong, text)
	}
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "web1: ") {
			t.Errorf("got line %q, want the hop's name before it", line)
		}
	}
	if got := question(connect.Prompt{Hop: "web1"}); got != "web1: " {
		t.Errorf("no text: got %q", got)
	}
}

// writers are the only places that may write to standard output, standard error or the terminal.
// All other code hands text to ui.go and page.go, which make it printable, or to a printer of its
// own.
var writers = map[string]string{
	"ui.go":          "writes what is printable, and bytes of lone targets",
	"page.go":        "makes text printable",
	"stream.go":      "remembers what could not be written",
	"state.go":       "holds the streams",
	"log.go":         "makes records printable",
	"forward.go":     "writes what -W brings as it is",
	"withforward.go": "is ssh's stand-in, whose line is ssh's",
	"fleet.go":       "has lone targets write as they are",
	"record.go":      "writes JSON",
	"shim.go":        "is ssh, which prints what is printable, and what a lone target writes",
	"with.go":        "gives the command its own streams",
	"terminal.go":    "shows what the escape character is for",
	"with_hosts.go":  "has what connecting prints go to standard error, as it is",
	"stats.go":       "writes JSON",
	"prompt.go":      "asks what question has made printable",
	"cli.go":         "has cobra print help",
	"completion.go":  "has cobra print scripts",
	"ansible.go":     "prints what the user's own directories are called",
	"demo.go":        "has package demo print",
	"serve_ssh.go":   "is a ProxyCommand, which passes on what the SSH server says",
}

var (
	streams = regexp.MustCompile(`\bs\.(stdout|stderr)\b|\b(ui|u)\.(out|err)\b|os\.Std(out|err)|` +
		`fmt\.Print`)
	byPage = regexp.MustCompile(`u[i]?\.(page|json)\([^,)]*(ui|u)\.(out|err)\b`)
)

func TestOnlyWritersWrite(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 20 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if writers[name] != "" {
			continue
		}
		text := byPage.ReplaceAllString(string(source), "")
		if found := streams.FindString(text); found != "" {
			t.Errorf("%s uses %s: want it to print by ui.page or ui.json", name, found)
		}
	}
}

// A page makes all that is added to it printable, whether or not that was done before, and so does
// JSON.
func TestPagesArePrintable(t *testing.T) {
	for name, add := range map[string]func(*page){
		"add":           func(p *page) { p.add("%s", nasty).add(nasty) },
		"red":           func(p *page) { p.red(nasty).bold(nasty) },
		"quote":         func(p *page) { p.quote("", poisonedBytes("x")) },
		"quote by name": func(p *page) { p.quote(poisonedBytes("x"), poisonedBytes("x")) },
		"tell": func(p *page) {
			p.ui.tell(poisoned("x"), &problem{Message: poisonedBytes("x"), Traceback: poisonedBytes("x"),
				hint: poisonedBytes("x")})
		},
		"say": func(p *page) { p.ui.say("%s", poisonedBytes("x")) },
		"json": func(p *page) {
			p.ui.json(p.w, map[string]any{poisonedBytes("x"): poisonedBytes("x")}, "")
		},
		"indented": func(p *page) {
			p.ui.json(p.w, record{Host: poisoned("x"), Error: &problem{Traceback: poisonedBytes("x")}}, "  ")
		},
	} {
		var out strings.Builder
		u := &ui{out: &stream{w: &out}, err: &stream{w: &out}}
		p := u.page(u.out)
		add(p)
		p.end().print()
		if wrong := harm(strings.TrimPrefix(out.String(), "error: "), false, forgeries); wrong != "" ||
			out.Len() < 2*len(nasty) {
			t.Errorf("%s: got %s in %q", name, wrong, out.String())
		}
	}
}
