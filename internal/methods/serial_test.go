package methods

import (
	"reflect"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/connect"
)

// TestConsoleHops: the forms of a console, and the line that each is.
func TestConsoleHops(t *testing.T) {
	o := connect.Options{Programs: map[string]connect.ProgramOptions{"ipmi": {Path: "/opt/ipmitool",
		Args: []string{"-U", "admin"}}}}
	for _, c := range []struct {
		target string
		want   Line
	}{
		{"serial:/dev/ttyUSB0", Line{Device: "/dev/ttyUSB0", Baud: 115200, User: "root"}},
		{"serial:ops@/dev/ttyS1,9600", Line{Device: "/dev/ttyS1", Baud: 9600, User: "ops"}},
		{"serial:/dev/serial/by-id/usb-FTDI_A@1", Line{Device: "/dev/serial/by-id/usb-FTDI_A@1",
			Baud: 115200, User: "root"}},
		{"console:/run/vm1.sock", Line{Socket: "/run/vm1.sock", User: "root"}},
		{"console:me@/run/vm1.sock,38400", Line{Socket: "/run/vm1.sock", Baud: 38400, User: "me"}},
		{"console:con7:2001", Line{Address: "con7:2001", User: "root"}},
		{"console:me@[::1]:2001,115200", Line{Address: "[::1]:2001", Baud: 115200, User: "me"}},
		{"console:web1", Line{Program: []string{"console", "web1"}, Leave: "\x05c.", User: "root"}},
		{"ipmi:me@bmc7", Line{Program: []string{"/opt/ipmitool", "-I", "lanplus", "-H", "bmc7",
			"-U", "admin", "sol", "activate"}, Leave: "\r~.", User: "me"}},
	} {
		hops, err := ParseTarget(c.target)
		if err != nil {
			t.Errorf("%s: got error %v", c.target, err)
			continue
		}
		p, err := hops[0].Plan([]string{"boot"}, o, true)
		if err != nil || p.Line == nil || !reflect.DeepEqual(*p.Line, c.want) {
			t.Errorf("%s: got %+v, %v, want %+v", c.target, p.Line, err, c.want)
		}
		if again := hops[0].String(); again != c.target {
			t.Errorf("%s: is written %s", c.target, again)
		}
		if len(p.Line.Opens()) == 0 {
			t.Errorf("%s: opens nothing", c.target)
		}
		if _, err := hops[0].Plan([]string{"boot"}, o, false); err == nil {
			t.Errorf("%s behind a hop: got no error", c.target)
		}
	}
	for _, target := range []string{
		"serial", "serial:", "serial:/dev/ttyS0,", "serial:/dev/ttyS0,fast", "serial:/dev/ttyS0,0",
		"serial:/dev/ttyS0,09600", "serial:@/dev/ttyS0",
		"console:host:0", "console:host:70000", "console::2001", "console:-x", "ipmi:-x",
		"ipmi:a b", "serial:/dev/tty;S0", "serial:ttyS0", "serial:../x",
	} {
		if hops, err := ParseTarget(target); err == nil {
			t.Errorf("%s: got %+v, want an error", target, hops)
		}
	}
}

// TestConsoleTimes: the connect timeout and those of silence know the line's speed.
func TestConsoleTimes(t *testing.T) {
	plan := func(target string, o connect.Options) Plan {
		hops, err := ParseTarget(target)
		if err != nil {
			t.Fatal(err)
		}
		p, err := hops[0].Plan([]string{"boot"}, o, true)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for target, want := range map[string]time.Duration{
		"console:/s": time.Minute, "serial:/dev/ttyS0": 64 * time.Second,
		"serial:/dev/ttyS0,9600": 111 * time.Second,
		"serial:/dev/ttyS0,1200": 469 * time.Second,
	} {
		if got := plan(target, connect.Options{}).Timeout.Truncate(time.Second); got != want {
			t.Errorf("%s: got a connect timeout of %v, want %v", target, got, want)
		}
		if got := plan(target, connect.Options{Timeout: time.Second}).Timeout; got != time.Second {
			t.Errorf("%s: got %v, want the timeout that was given", target, got)
		}
	}
	for target, want := range map[string]time.Duration{"console:/s": 1, "serial:/dev/ttyS0": 1,
		"serial:/dev/ttyS0,9600": 4, "serial:/dev/ttyS0,1200": 32} {
		if got := plan(target, connect.Options{}).Line.Slowness(); got != want {
			t.Errorf("%s: got a slowness of %d, want %d", target, got, want)
		}
	}
	if got := (*Line)(nil).Slowness(); got != 1 {
		t.Errorf("no line: got a slowness of %d, want 1", got)
	}
}

// TestHasBaud: the comma before a speed belongs to the console, every other one separates targets.
func TestHasBaud(t *testing.T) {
	for _, c := range []struct {
		before, rest string
		want         bool
	}{
		{"serial:/dev/ttyS0", "9600", true},
		{" serial:/dev/ttyS0", "9600,web1", true},
		{"console:h:1", "9600+sudo", true},
		{"serial:/dev/ttyS0", "web1", false},
		{"serial:/dev/ttyS0", "9600x", false},
		{"serial:/dev/ttyS0", "", false},
		{"serial", "9600", false},
		{"web1", "9600", false},
		{"serial:/dev/ttyS0+sudo", "9600", false},
		{"", "9600", false},
	} {
		if got := HasBaud(c.before, c.rest); got != c.want {
			t.Errorf("%q, %q: got %v, want %v", c.before, c.rest, got, c.want)
		}
	}
}

// TestConsolePasswords: a console has a password of its own, and no other.
func TestConsolePasswords(t *testing.T) {
	hops, err := ParseTarget("serial:/dev/ttyS0+sudo")
	if err != nil {
		t.Fatal(err)
	}
	o := connect.Options{Console: connect.ConsoleOptions{Password: "of the console"},
		Sudo: connect.SudoOptions{Password: "of sudo"}}
	for i, want := range []string{"of the console", "of sudo"} {
		of, err := ForHop(o, "", hops, i)
		if err != nil {
			t.Fatal(err)
		}
		p, err := hops[i].Plan([]string{"boot"}, of, i == 0)
		if err != nil || len(p.Answers()) != 1 || string(p.Answers()[0]) != want {
			t.Errorf("hop %d: got %q, %v, want %q", i, p.Answers(), err, want)
		}
	}
}
