package daemon

import (
	"errors"
	"net"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/daemonclient"
	"github.com/mitogen-go/mitogen/internal/jsonline"
)

// turnedAway sends a first message to a daemon that has no descriptor for the client. It returns
// the answer, and whether the daemon is to end.
func turnedAway(t *testing.T, m *daemonclient.Message) (answer *daemonclient.Message,
	stopped bool) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	must(t, err)
	defer l.Close()
	client, err := net.Dial("unix", socket)
	must(t, err)
	defer client.Close()
	conn, err := l.AcceptUnix()
	must(t, err)
	defer conn.Close()
	ch := jsonline.New(client)
	must(t, ch.Write(m, nil))
	s := &Server{stop: func() { stopped = true }}
	s.turnAway(conn)
	answer = &daemonclient.Message{}
	client.SetReadDeadline(time.Now().Add(time.Minute))
	_, err = ch.Read(answer, nil)
	must(t, err)
	return answer, stopped
}

// A daemon without descriptors says so to its clients, and ends if one asks for that.
func TestTurnedAway(t *testing.T) {
	for _, m := range []*daemonclient.Message{
		{Op: "open", Target: "web1", Version: "1"}, {Op: "run", Target: "web1"},
		{Op: "list"}, {Op: "disconnect", Target: "web1"}, {},
	} {
		answer, stopped := turnedAway(t, m)
		if stopped || answer.End == nil || answer.End.Error == nil {
			t.Fatalf("%q: got %+v, stopped %t, want an error", m.Op, answer, stopped)
		}
		err := answer.End.Error.Err()
		if !errors.Is(err, connect.ErrExhausted) || !errors.Is(err, syscall.EMFILE) {
			t.Errorf("%q: got %v, want ErrExhausted and EMFILE", m.Op, err)
		}
	}
	answer, stopped := turnedAway(t, &daemonclient.Message{Op: "stop"})
	if !stopped || answer.PID == 0 || answer.End == nil || answer.End.Error != nil {
		t.Errorf("stop: got %+v, stopped %t, want that the daemon ends", answer, stopped)
	}
}

// What a client that is turned away has sent of secrets is wiped.
func TestTurnedAwayForgets(t *testing.T) {
	collections := func() uint32 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.NumForcedGC
	}
	with := &daemonclient.Options{Sudo: daemonclient.BecomeOptions{Password: "hunter2"}}
	for _, m := range []*daemonclient.Message{
		{Op: "open", Target: "sudo", Options: with},
		{Op: "ansible", Target: "web1", Via: []daemonclient.Hop{{Target: "sudo", Options: with}}},
	} {
		time.Sleep(1100 * time.Millisecond) // what another test has begun to wipe is over
		before := collections()
		turnedAway(t, m)
		eventually(t, "the secret is wiped", func() bool { return collections() > before })
	}
}
