package serial

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/consolesim"
	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/testpython"
	"github.com/mitogen-go/mitogen/secret"
)

func TestMain(m *testing.M) {
	if device := os.Getenv(victimVariable); device != "" {
		victim(device)
	}
	os.Exit(lab.Main(m))
}

// victimVariable has a process of this program be a client of the console that it names.
const victimVariable = "TEST_SERIAL_DEVICE"

// victim starts a command on a console, and stays until it is killed.
func victim(device string) {
	_, err := Start(context.Background(), Options{
		Line:   &methods.Line{Device: device, Baud: 115200, User: lab.Pass},
		Hidden: &methods.Mask{}, Argv: []string{"cat"},
		Password: func(context.Context) (secret.Secret, error) {
			return secret.Secret(os.Getenv("TEST_SERIAL_PASSWORD")), nil
		},
	})
	fmt.Println("up", err)
	time.Sleep(time.Hour)
}

// TestKilled: a client that is killed at any moment leaves a console that the next one can use, and
// a session that was there before.
func TestKilled(t *testing.T) {
	t.Parallel()
	rounds := 4
	if long() {
		rounds = 40
	}
	rng := testpython.Draw(t.Name())
	for round := range rounds {
		o := consolesim.Options{Rate: serialRate, Session: []string{"/bin/sh", "-i"}}
		getty := round%4 == 3
		if getty {
			o.Session = nil
		}
		after := time.Duration(rng.IntN(2500)) * time.Millisecond
		t.Run(fmt.Sprintf("getty %v, after %v", getty, after), func(t *testing.T) {
			t.Parallel()
			c := consolesim.New(t, o)
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), victimVariable+"="+c.Device,
				"TEST_SERIAL_PASSWORD="+lab.Need(t).Password)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(after)
			cmd.Process.Kill()
			cmd.Wait()
			p, err := begin(t, c, nil)
			if err != nil {
				t.Fatalf("after a client that was killed: got error %v\n%q", err, c.Seen())
			}
			works(t, p)
			if getty {
				shows(t, c, "login: ")
			} else {
				stays(t, c)
			}
		})
	}
}

// TestShellsLeftBehind: shells of clients that were killed before these gave them a prompt are
// ended, and the session's own goes on.
func TestShellsLeftBehind(t *testing.T) {
	for _, n := range []int{1, 2} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			o := consolesim.Options{Rate: serialRate, Session: []string{"/bin/sh", "-i"}}
			c := consolesim.New(t, o)
			d, err := openDevice(c.Device, 115200)
			if err != nil {
				t.Fatal(err)
			}
			for i := range n {
				fmt.Fprintf(d, " %s\recho $((40+2))$MITO\r", ownShell)
				shows(t, c, "42"+strings.Repeat("7", i+1)+"\r\n")
			}
			d.Close()
			p, err := begin(t, c, nil)
			if err != nil {
				t.Fatalf("start: got error %v\n%q", err, c.Seen())
			}
			works(t, p)
			stays(t, c)
		})
	}
}
