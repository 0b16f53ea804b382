package mitogen_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/pyvalue"
)

// What a caller forgets, or gets wrong, is an error of that call.
func TestWrongArguments(t *testing.T) {
	p := newPlace(t)
	ctx := t.Context()
	none := mitogen.ConnectOptions{}

	noPython := mitogen.ConnectOptions{Options: connect.Options{Python: []string{"no-such-python"}}}
	dir, long := t.TempDir(), strings.Repeat("x", 1<<20)
	for name, do := range map[string]func() error{
		"Call of nobody": func() error {
			_, err := mitogen.Call[any](ctx, nil, "talk:sleep", 0)
			return err
		},
		"Call of nothing": func() error {
			_, err := mitogen.Call[any](ctx, p.up, "")
			return err
		},
		"Call of a colon": func() error {
			_, err := mitogen.Call[any](ctx, p.up, ":")
			return err
		},
		"Call of a module": func() error {
			_, err := mitogen.Call[any](ctx, p.up, "talk")
			return err
		},
		"Call without name": func() error {
			_, err := mitogen.Call[any](ctx, p.up, "talk:")
			return err
		},
		"Call of NUL": func() error {
			_, err := mitogen.Call[any](ctx, p.up, "talk:\x00")
			return err
		},
		"Call of long": func() error {
			_, err := mitogen.Call[any](ctx, p.up, "talk:"+long)
			return err
		},
		"Call with channel": func() error {
			_, err := mitogen.Call[any](ctx, p.up, "talk:sleep", make(chan int))
			return err
		},
		"Call with function": func() error {
			_, err := mitogen.Call[any](ctx, p.up, "talk:sleep", func() {})
			return err
		},
		"Call with engine": func() error {
			_, err := mitogen.Call[any](ctx, p.up, "talk:sleep", p.e)
			return err
		},
		"Wait for nothing": func() error {
			_, err := mitogen.Wait[any](ctx, nil)
			return err
		},
		"Stream of nobody": func() error {
			for _, err := range mitogen.Stream[int](ctx, nil, "talk:count") {
				return err
			}
			return nil
		},
		"Each of nobody": func() error {
			for _, r := range mitogen.Each[any](ctx, []*mitogen.Context{nil}, "talk:sleep", 0) {
				return r.Err
			}
			return nil
		},
		"PutEach of nobody": func() error {
			for _, r := range mitogen.PutEach(ctx, []*mitogen.Context{nil}, dir,
				mitogen.CopyOptions{}, "edge_test.go") {
				return r.Err
			}
			return nil
		},
		"SyncPutEach of nobody": func() error {
			for _, r := range mitogen.SyncPutEach(ctx, []*mitogen.Context{nil}, dir, ".",
				mitogen.SyncOptions{}) {
				return r.Err
			}
			return nil
		},
		"Connect to nothing": func() error {
			_, err := p.e.Connect(ctx, "", none)
			return err
		},
		"Connect to a plus": func() error {
			_, err := p.e.Connect(ctx, "+", none)
			return err
		},
		"Connect to NUL": func() error {
			_, err := p.e.Connect(ctx, "a\x00b", none)
			return err
		},
		"Connect to option": func() error {
			_, err := p.e.Connect(ctx, "-oProxyCommand=x", none)
			return err
		},
		"Start of nothing": func() error {
			_, err := p.e.Start("", none)
			return err
		},
		"Allow nobody":      func() error { return p.e.Allow(nil, nil) },
		"Allow to nobody":   func() error { return p.e.Allow(p.up, nil) },
		"Allow from nobody": func() error { return p.e.Allow(nil, p.up) },
		"Send to nobody":    func() error { return p.e.Send(ctx, pyvalue.Sender{}, 1) },
		"Send a channel":    func() error { return p.e.Send(ctx, p.sender, make(chan int)) },
		"Dial no network": func() error {
			_, err := p.up.Dial(ctx, "", "127.0.0.1:1")
			return err
		},
		"Dial a bad network": func() error {
			_, err := p.up.Dial(ctx, "udp\x00", "127.0.0.1:1")
			return err
		},
		"Dial nothing": func() error {
			_, err := p.up.Dial(ctx, "tcp", "")
			return err
		},
		"Dial no port": func() error {
			_, err := p.up.Dial(ctx, "tcp", "127.0.0.1")
			return err
		},
		"Dial a large port": func() error {
			_, err := p.up.Dial(ctx, "tcp", "127.0.0.1:70000")
			return err
		},
		"Dial NUL": func() error {
			_, err := p.up.Dial(ctx, "unix", "/x\x00y")
			return err
		},
		"Dial no path": func() error {
			_, err := p.up.Dial(ctx, "unix", "")
			return err
		},
		"Dial a long path": func() error {
			_, err := p.up.Dial(ctx, "unix", "/"+long[:300])
			return err
		},
		"Listen at no network": func() error {
			_, err := p.up.Listen(ctx, "", "127.0.0.1:0")
			return err
		},
		"Listen at a large port": func() error {
			_, err := p.up.Listen(ctx, "tcp", "127.0.0.1:70000")
			return err
		},
		"Listen at a foreign address": func() error {
			_, err := p.up.Listen(ctx, "tcp", "192.0.2.1:0")
			return err
		},
		"Listen at no path": func() error {
			_, err := p.up.Listen(ctx, "unix", "")
			return err
		},
		"Listen at a long path": func() error {
			_, err := p.up.Listen(ctx, "unix", "/"+long[:300])
			return err
		},
		"Exec of nothing": func() error {
			_, err := p.up.Exec(ctx, mitogen.Command{})
			return err
		},
		"Exec without Python, of nothing": func() error {
			_, err := p.e.Exec(ctx, "local", noPython, mitogen.Command{})
			return err
		},
		"Exec without Python, of NUL": func() error {
			_, err := p.e.Exec(ctx, "local", noPython,
				mitogen.Command{Args: []string{"echo", "\x00"}})
			return err
		},
		"Command of nothing": func() error { return p.up.Command("").Run(ctx) },
		"PutFS of nothing": func() error {
			_, err := p.up.PutFS(ctx, dir, mitogen.CopyOptions{}, nil, "x")
			return err
		},
		"PutFS of ..": func() error {
			_, err := p.up.PutFS(ctx, dir, mitogen.CopyOptions{},
				fstest.MapFS{"a": {Data: []byte("x")}}, "../a")
			return err
		},
		"PutFS of /": func() error {
			_, err := p.up.PutFS(ctx, dir, mitogen.CopyOptions{},
				fstest.MapFS{"a": {Data: []byte("x")}}, "/a")
			return err
		},
		"Put of no name": func() error {
			_, err := p.up.Put(ctx, dir, mitogen.CopyOptions{}, "")
			return err
		},
		"Put to NUL": func() error {
			_, err := p.up.Put(ctx, dir+"/\x00", mitogen.CopyOptions{}, "edge_test.go")
			return err
		},
		"Get of no name": func() error {
			_, err := p.up.Get(ctx, dir, mitogen.CopyOptions{}, "")
			return err
		},
		"SyncPut to no name": func() error {
			_, err := p.up.SyncPut(ctx, "", dir, mitogen.SyncOptions{})
			return err
		},
		"SyncPut of no name": func() error {
			_, err := p.up.SyncPut(ctx, dir, "", mitogen.SyncOptions{})
			return err
		},
		"SyncPutEach to no name": func() error {
			for _, r := range mitogen.SyncPutEach(ctx, []*mitogen.Context{p.up}, "", dir,
				mitogen.SyncOptions{}) {
				return r.Err
			}
			return nil
		},
		"SyncGet to no name": func() error {
			_, err := p.up.SyncGet(ctx, "", dir, mitogen.SyncOptions{})
			return err
		},
		"SyncGet of no name": func() error {
			_, err := p.up.SyncGet(ctx, dir, "", mitogen.SyncOptions{})
			return err
		},
		"Get of NUL": func() error {
			_, err := p.up.Get(ctx, dir, mitogen.CopyOptions{}, "/etc/\x00")
			return err
		},
		"GetFile of nothing": func() error {
			_, err := p.e.GetFile(ctx, "local", none, dir, mitogen.CopyOptions{}, "")
			return err
		},
		"PutFile of nothing": func() error {
			_, err := p.e.PutFile(ctx, "local", none, dir, mitogen.CopyOptions{}, "")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := soon(t, name, func() (err error) {
				defer func() {
					if r := recover(); r != nil {
						t.Errorf("panics: %v", r)
						err = errors.New("panics")
					}
				}()
				return do()
			})
			if err == nil {
				t.Error("no error")
			}
		})
	}
	if _, err := p.up.Ping(ctx); err != nil {
		t.Errorf("the context: %v", err)
	}
}

// What copies, dials and listens begins nothing with a context that has ended, and says so.
func TestEndedContext(t *testing.T) {
	p := newPlace(t)
	dir, cause := t.TempDir(), errors.New("cause")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	copying, syncing := mitogen.CopyOptions{}, mitogen.SyncOptions{}
	one := fstest.MapFS{"a": {Data: bytes.Repeat([]byte("x"), 1<<20), Mode: 0o644,
		ModTime: time.Now()}}
	for name, do := range map[string]func() error{
		"Dial": func() error {
			_, err := p.up.Dial(ctx, "tcp", "127.0.0.1:1")
			return err
		},
		"Listen": func() error {
			_, err := p.up.Listen(ctx, "tcp", "127.0.0.1:0")
			return err
		},
		"Put": func() error {
			_, err := p.up.Put(ctx, dir, copying, "edge_test.go")
			return err
		},
		"PutFS": func() error {
			_, err := p.up.PutFS(ctx, dir, copying, one, "a")
			return err
		},
		"Get": func() error {
			_, err := p.up.Get(ctx, dir, copying, "/etc/hostname")
			return err
		},
		"SyncPut": func() error {
			_, err := p.up.SyncPut(ctx, dir+"/s", "testdata", syncing)
			return err
		},
		"SyncGet": func() error {
			_, err := p.up.SyncGet(ctx, dir+"/s", "/etc/ssh", syncing)
			return err
		},
		"GetFile": func() error {
			_, err := p.e.GetFile(ctx, "local", mitogen.ConnectOptions{}, dir+"/x", copying,
				"/etc/hostname")
			return err
		},
		"PutFile": func() error {
			_, err := p.e.PutFile(ctx, "local", mitogen.ConnectOptions{}, dir+"/x", copying,
				"edge_test.go")
			return err
		},
		"ConnectGo": func() error {
			_, err := p.e.ConnectGo(ctx, mitogen.ConnectOptions{})
			return err
		},
		"PutEach": func() error {
			for _, r := range mitogen.PutEach(ctx, []*mitogen.Context{p.up}, dir, copying,
				"edge_test.go") {
				return r.Err
			}
			return nil
		},
		"SyncPutEach": func() error {
			for _, r := range mitogen.SyncPutEach(ctx, []*mitogen.Context{p.up}, dir+"/s",
				"testdata", syncing) {
				return r.Err
			}
			return nil
		},
	} {
		err := soon(t, name, do)
		for _, want := range []error{mitogen.ErrCancelled, cause, context.Canceled} {
			if !errors.Is(err, want) {
				t.Errorf("%s: got %v, want it to be %v", name, err, want)
			}
		}
	}
}
