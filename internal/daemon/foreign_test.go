package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/mitogen-go/mitogen/internal/daemonclient"
	"github.com/mitogen-go/mitogen/internal/hostile"
	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/internal/peer"
)

// foreign makes directories in which another user could have made a daemon's socket, and returns
// them by what is wrong.
func foreign(t *testing.T) map[string]string {
	t.Helper()
	lab.Need(t)
	top, err := os.MkdirTemp("", "mgo")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(top) })
	must(t, os.Chmod(top, 0o755))
	at := func(name string) string { return filepath.Join(top, name) }
	for _, name := range []string{"own", "theirs", "theirs/own", "open", "parent", "shared"} {
		must(t, os.Mkdir(at(name), 0o700))
	}
	must(t, os.Symlink(at("own"), at("link")))
	must(t, os.WriteFile(at("file"), nil, 0o600))
	must(t, os.Chmod(at("open"), 0o777))
	must(t, os.Chmod(at("shared"), 0o777))
	for _, name := range []string{"theirs", "link", "parent"} {
		hostile.Hand(t, at(name), lab.Other)
	}
	return map[string]string{
		"of another user": at("theirs"), "a link": at("link"), "a file": at("file"), "open": at("open"),
		"in one of another user": at("theirs/own"), "missing in one of another user": at("parent/new"),
		"missing in an open one": at("shared/new"), "missing below a file": at("file/new"),
	}
}

// A daemon that a user didn't make the place of removes nothing there.
func TestNothingIsSweptElsewhere(t *testing.T) {
	for what, dir := range foreign(t) {
		t.Run(what, func(t *testing.T) {
			kept := filepath.Join(dir, "agent-99999999.sock") // as if of a process that is no more
			if err := os.WriteFile(kept, nil, 0o600); err != nil {
				kept = ""
			}
			err := Serve(t.Context(), Options{Socket: filepath.Join(dir, "ansible-1.sock"),
				Owner: os.Getpid()})
			if err == nil {
				t.Error("got no error, want one about the directory")
			}
			if kept == "" {
				return
			}
			if _, err := os.Lstat(kept); err != nil {
				t.Errorf("a socket of another program: got %v, want it to be there still", err)
			}
		})
	}
}

// A place that isn't only the user's is an error at once: no daemon is started, and none is waited
// for.
func TestForeignPlaceIsAnErrorAtOnce(t *testing.T) {
	for what, dir := range foreign(t) {
		t.Run(what, func(t *testing.T) {
			mark := filepath.Join(t.TempDir(), "started")
			c := &daemonclient.Client{Socket: filepath.Join(dir, "d.sock"), Version: "1",
				Command: []string{"/bin/sh", "-c", fmt.Sprintf("echo >%s", mark)}}
			_, _, err := c.List()
			var place *peer.PlaceError
			if !errors.As(err, &place) && what != "missing below a file" {
				t.Errorf("got %v, want a PlaceError", err)
			}
			if err == nil || peer.Missing(err) {
				t.Errorf("got %v, want an error that says more than that no daemon is there", err)
			}
			if _, err := os.Stat(mark); err == nil {
				t.Error("a daemon was started")
			}
		})
	}
}
