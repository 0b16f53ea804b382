package ansible

import (
	"context"
	"log/slog"
	"net"
	"testing"

	"github.com/mitogen-go/mitogen/internal/connect"
	"github.com/mitogen-go/mitogen/internal/engine"
	"github.com/mitogen-go/mitogen/internal/jsonline"
	"github.com/mitogen-go/mitogen/internal/lab"
)

// An account that turns out not to be there for the asking disturbs nobody who uses the login meanwhile, and what was asked of it is done from there.
func TestDirectFails(t *testing.T) {
	l := lab.Need(t)
	eng, err := engine.New(engine.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { eng.Close() })
	s := NewServer(eng)
	way := Way{{Target: "ssh:" + lab.Free, Options: connect.Options{SSH: connect.SSHOptions{ConfigFile: l.Config}}}}
	dial := func() *bench {
		ours, theirs := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.Serve(context.Background(), jsonline.New(theirs), "host", way)
			theirs.Close()
		}()
		t.Cleanup(func() { ours.Close(); <-done })
		return &bench{t: t, s: s, conn: jsonline.New(ours)}
	}
	first, second := dial(), dial()
	fails := "sleep 1; exit 1"
	if _, _, end := first.ask(first.conn, &Message{Do: "connect", Account: "root", User: "root", Python: "/usr/bin/python3", Become: &fails}); end.Error != nil {
		t.Fatalf("%+v", end.Error)
	}
	inner := "id -un"
	asked := make(chan *End, 1)
	go func() {
		c := first.conn
		if err := c.Write(&Message{Do: "exec", Command: "x", Inner: &inner, Shell: "/bin/sh", Account: "root", User: "root", EOF: true}, nil); err != nil {
			t.Error(err)
		}
		for {
			m := &Message{}
			data, err := c.Read(m, nil)
			switch {
			case err != nil:
				t.Error(err)
				asked <- nil
				return
			case m.Boot != "":
				command := "sudo -n /bin/sh -c " + connect.QuoteCommand([]string{m.Boot})
				c.Write(&Message{Become: &command}, nil)
			case m.Stream == "stdout" && string(data) != "root\n":
				t.Errorf("as root: %q", data)
			case m.End != nil:
				asked <- m.End
				return
			}
		}
	}()
	if out, _, end := second.ask(second.conn, &Message{Do: "exec", Command: "sleep 2; id -un"}); out != lab.Free+"\n" || end.Error != nil {
		t.Errorf("as the login: %q, %+v", out, end)
	}
	if end := <-asked; end == nil || end.Error != nil {
		t.Errorf("as root: %+v", end)
	}
}
