package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/lab"
)

// forwarding is a `mitogen forward` that runs.
type forwarding struct {
	t      *testing.T
	cmd    *exec.Cmd
	events chan forwardEvent
	errs   strings.Builder
}

// forwardEvent is a line of its --json.
type forwardEvent struct {
	Event, Forward, At, From, To string
	ID                           uint64
	Sent, Received               int64
	Error                        struct{ Kind, Message string }
}

// forward starts one, which ends with the test.
func forward(t *testing.T, program string, args ...string) *forwarding {
	t.Helper()
	f := &forwarding{t: t, events: make(chan forwardEvent, 10_000)}
	f.cmd = exec.Command(program, append([]string{"forward", "--json"}, args...)...)
	f.cmd.Stderr = &f.errs
	out, err := f.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(f.events)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var e forwardEvent
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				t.Errorf("got line %q: %v", lines.Text(), err)
			}
			f.events <- e
		}
	}()
	t.Cleanup(func() {
		f.cmd.Process.Kill()
		<-read
		f.cmd.Wait()
	})
	return f
}

// next returns the next event of a kind, and drops the events before it.
func (f *forwarding) next(kind string) forwardEvent {
	f.t.Helper()
	limit := time.After(time.Minute)
	for {
		select {
		case e, ok := <-f.events:
			if !ok {
				f.t.Fatalf("got the end, want event %s: %s", kind, f.errs.String())
			}
			if e.Event == kind {
				return e
			}
		case <-limit:
			f.t.Fatalf("got no event %s", kind)
		}
	}
}

// curl gets a page, and returns what it prints, and its status.
func curl(args ...string) string {
	out, err := exec.Command("curl", append([]string{"-sS", "-m", "20"}, args...)...).CombinedOutput()
	if err != nil {
		return string(out) + err.Error()
	}
	return string(out)
}

// Real clients pass through a real sshd, each kind of forwarding, from either side. What listens at
// the target is gone with the engine, however that ends.
func TestForwardClients(t *testing.T) {
	l := lab.Need(t)
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("not installed: curl")
	}
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%s %d", r.URL.Path, n)
	}))
	defer site.Close()
	to := site.Listener.Addr().String()
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.WriteFile(data, make([]byte, 5_000_000), 0o600); err != nil {
		t.Fatal(err)
	}
	here := filepath.Join(dir, "here")
	there := filepath.Join("/tmp", filepath.Base(dir)+strings.ReplaceAll(t.Name(), "/", "")+".sock")
	f := forward(t, buildMitogen(t), "-F", l.Config, "--host-keys", "off", "-t", lab.Free,
		"-L", "0:"+to, "-L", here+":"+to, "-L", there+".here:"+there,
		"-R", "0:"+to, "-R", there+":"+to, "-R", "0", "-D", "0")
	at := map[string]string{}
	for _, name := range []string{"-L", "-L unix", "both unix", "-R", "-R unix", "-R SOCKS", "-D"} {
		e := f.next("listening")
		if at[name] = e.At; e.At == "" {
			t.Fatalf("%s: got %+v, want an address", name, e)
		}
	}
	defer os.Remove(there + ".here")
	named := "http://localhost:" + port(to)
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"-L":        {[]string{"http://" + at["-L"] + "/L"}, "/L 0"},
		"-L upload": {[]string{"-T", data, "http://" + at["-L"] + "/up"}, "/up 5000000"},
		"-L unix":   {[]string{"--unix-socket", here, "http://web/unix"}, "/unix 0"},
		"-R":        {[]string{"http://" + at["-R"] + "/R"}, "/R 0"},
		"-R SOCKS":  {[]string{"-x", "socks5h://" + at["-R SOCKS"], "http://" + to + "/RS"}, "/RS 0"},
		"socks5":    {[]string{"-x", "socks5://" + at["-D"], "http://" + to + "/5"}, "/5 0"},
		"socks5h":   {[]string{"-x", "socks5h://" + at["-D"], named + "/5h"}, "/5h 0"},
		"socks4a":   {[]string{"-x", "socks4a://" + at["-D"], named + "/4a"}, "/4a 0"},
		"both unix": {[]string{"--unix-socket", there + ".here", "http://web/both"}, "/both 0"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := curl(tt.args...); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	got := curl("-x", "socks5h://"+at["-D"], "http://no-such-host.invalid/")
	if !strings.Contains(got, "97") {
		t.Errorf("an unknown name: got %q, want status 97", got)
	}
	if e := f.next("failed"); e.Error.Kind != "unknown-host" || e.To != "no-such-host.invalid:80" {
		t.Errorf("got %+v, want an unknown host", e)
	}
	f.cmd.Process.Kill()
	for limit := time.Now().Add(patience); ; {
		c, err := net.Dial("tcp", at["-R"])
		if err != nil {
			break
		}
		if c.Close(); time.Now().After(limit) {
			t.Fatal("the target listens after the engine's end")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func port(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

// A thousand connections pass through one forwarding, all open at once.
func TestForwardMany(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(c, c)
				c.Close()
			}()
		}
	}()
	f := forward(t, buildMitogen(t), "-t", "local", "-L", "0:"+echo.Addr().String())
	at := f.next("listening").At
	const most = 1000
	open := make([]net.Conn, most)
	var all sync.WaitGroup
	for i := range open {
		all.Go(func() {
			c, err := net.Dial("tcp", at)
			if err != nil {
				t.Error(err)
				return
			}
			open[i] = c
			c.SetDeadline(time.Now().Add(time.Minute))
			text := fmt.Sprintf("%08d", i)
			got := make([]byte, len(text))
			io.WriteString(c, text)
			if _, err := io.ReadFull(c, got); string(got) != text {
				t.Errorf("connection %d: got %q, %v", i, got, err)
			}
		})
	}
	all.Wait()
	for _, c := range open {
		if c != nil {
			c.Close()
		}
	}
	for range most {
		if e := f.next("closed"); e.Sent != 8 || e.Received != 8 || e.Error.Kind != "" {
			t.Fatalf("got %+v, want 8 bytes each way", e)
		}
	}
}

// What can't be had is one line, and its status.
func TestForwardRefused(t *testing.T) {
	program := buildMitogen(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	used := port(taken.Addr().String())
	for name, tt := range map[string]struct {
		args   []string
		status int
		text   string
	}{
		"taken here":   {[]string{"-t", "local", used + ":80"}, 1, used + ": address already in use"},
		"taken there":  {[]string{"-t", "local", "-R", used + ":a:80"}, 1, "address already in use"},
		"no directory": {[]string{"-t", "local", "-R", "/no/such/s:a:80"}, 1, "no such file"},
		"and here":     {[]string{"-t", "local", "-L", "/no/such/s:a:80"}, 1, "no such file"},
		"refused":      {[]string{"-t", "local", "-W", "localhost:1"}, 1, "connection refused"},
		"unknown name": {[]string{"-t", "local", "-W", "no-such-host.invalid:1"}, 1, "no such host"},
		"no target":    {[]string{"-t", "no-such-host.invalid", "80"}, 255, "unknown host"},
		"two targets":  {[]string{"-t", "local,local", "80"}, 2, "want one"},
		"nothing":      {[]string{"-t", "local"}, 2, "nothing to forward"},
		"bad port":     {[]string{"-t", "local", "0"}, 2, "want a number from 1"},
		"bad -L":       {[]string{"-t", "local", "-L", "x:y:z"}, 2, `-L "x:y:z"`},
		"-W, --json":   {[]string{"-t", "local", "-W", "a:1", "--json"}, 2, "no --json"},
		"-W and -L":    {[]string{"-t", "local", "-W", "a:1", "-L", "1:a:1"}, 2, "no other"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, program, append([]string{"forward"}, tt.args...)...)
			out, _ := cmd.CombinedOutput()
			said, hint, _ := strings.Cut(string(out), "\nhint: ")
			one := !strings.Contains(strings.TrimSpace(said), "\n") && strings.Count(hint, "\n") <= 1
			if !one || !strings.HasPrefix(said, "error: ") || !strings.Contains(said, tt.text) {
				t.Errorf("got %q, want an error of one line with %q", out, tt.text)
			}
			if status := cmd.ProcessState.ExitCode(); status != tt.status {
				t.Errorf("got status %d, want %d", status, tt.status)
			}
		})
	}
}

// -W passes standard input and output on, to the other side's end.
func TestForwardStdio(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		b, _ := io.ReadAll(c)
		fmt.Fprintf(c, "got %s", b)
		c.Close()
	}()
	cmd := exec.Command(buildMitogen(t), "forward", "-t", "local", "-W", l.Addr().String())
	cmd.Stdin = strings.NewReader("in")
	if out, err := cmd.CombinedOutput(); string(out) != "got in" || err != nil {
		t.Errorf("got %q, %v, want what came back", out, err)
	}
}

// What standard input has after the other side's end goes there.
func TestForwardStdioHalfClosed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		c.(*net.TCPConn).CloseWrite()
		b, _ := io.ReadAll(c)
		got <- string(b)
		c.Close()
	}()
	cmd := exec.Command(buildMitogen(t), "forward", "-t", "local", "-W", l.Addr().String())
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(out); len(b) > 0 || err != nil {
		t.Errorf("got %q, %v, want an end", b, err)
	}
	io.WriteString(in, "late")
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("got %v, want success", err)
	}
	if b := <-got; b != "late" {
		t.Errorf("got %q there, want what was late", b)
	}
}

// The ssh of `mitogen with`, and OpenSSH's, forward through the tree. What they have asked for ends
// with them.
func TestForwardsOfSSH(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("not installed: curl")
	}
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "page")
	}))
	t.Cleanup(site.Close)
	to := site.Listener.Addr().String()
	program := buildMitogen(t)
	const get = `curl -s -m 20 http://127.0.0.1:$P/`
	for name, way := range sshWays() {
		for _, tt := range []struct{ name, script, want string }{
			{"-L", `$SSH -n -L $P:$TO web '` + get + `'; ` + get + ` || echo " gone"`, "page gone"},
			{"-R", `$SSH -n -R $P:$TO web '` + get + `'; ` + get + ` || echo " gone"`, "page gone"},
			{"-D", `$SSH -n -D $P web 'curl -s -x socks5h://127.0.0.1:$P http://$TO/'`, "page"},
			{"-R 0", `$SSH -n -R 0:$TO web true 2>&1 | tr -d '\r' | sed 's/port [1-9][0-9]*/port N/'`,
				"Allocated port N for remote forward to " + to},
			{"-W", `{ printf 'GET / HTTP/1.0\r\n\r\n'; sleep 1; } | $SSH -W $TO web | tail -n 1`, "page"},
			{"refused", `$SSH -W localhost:1 web 2>&1 | grep -o "connection refused"`, "connection refused"},
		} {
			if tt.name == "-R 0" && name != "ours" {
				continue // what it says is OpenSSH's matter
			}
			t.Run(name+"/"+tt.name, func(t *testing.T) {
				l, err := net.Listen("tcp", "127.0.0.1:0") // a port that is free
				if err != nil {
					t.Fatal(err)
				}
				at := port(l.Addr().String())
				l.Close()
				set := fmt.Sprintf("SSH=%q; ", way.ssh)
				script := strings.ReplaceAll(strings.ReplaceAll(tt.script, "$P", at), "$TO", to)
				got := strings.TrimSpace(localBy(t, program, way.command, set+script))
				if got != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			})
		}
	}
}

// What standard input has after the end of ssh -W is left to the shell.
func TestStdioLeavesInput(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		io.ReadFull(c, make([]byte, 1))
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}()
	script := `{ echo; sleep 3; echo left; } | { ssh -W ` + l.Addr().String() + ` web 2>&-; cat; }`
	if got := strings.TrimSpace(withLocal(t, buildMitogen(t), script)); got != "left" {
		t.Errorf("got %q, want what was left", got)
	}
}

// After the loss of the target `ssh -L` goes on with a new connection to it, and what listens there
// is an error of its ssh.
func TestForwardsOfLostTarget(t *testing.T) {
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "page")
	}))
	t.Cleanup(site.Close)
	for name, tt := range map[string]struct{ script, want string }{
		"-L": {`ssh -N -L $P:$TO web & sleep 1; ssh -n web 'kill -9 $PPID' 2>&-; sleep 1
			curl -s -m 20 http://127.0.0.1:$P/; kill $!`, "page"},
		"-R": {`ssh -N -R $P:$TO web 2>&- & sleep 1; ssh -n web 'kill -9 $PPID' 2>&-
			wait $!; echo $?`, "255"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0") // a port that is free
			if err != nil {
				t.Fatal(err)
			}
			at := port(l.Addr().String())
			l.Close()
			script := strings.ReplaceAll(tt.script, "$P:", at+":")
			script = strings.ReplaceAll(script, "$P/", at+"/")
			script = strings.ReplaceAll(script, "$TO", site.Listener.Addr().String())
			got := strings.TrimSpace(withLocal(t, buildMitogen(t), script))
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
