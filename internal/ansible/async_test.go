package ansible

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// wrapper stands for Ansible's: it says that it is there, and once F/go is there it starts a job
// or fails. The job ends, and removes the directory, once F/end is there.
const wrapper = `
import os, shutil, sys, time
F, job, closes = sys.argv[1:]
def wait(name):
    for i in range(2000):
        if os.path.exists(F + '/' + name):
            return
        time.sleep(.01)
if closes == 'true':
    os.closerange(3, 256)   # as csh does
open(F + '/begun', 'w').close()
wait('go')
if job == 'false':
    sys.exit(1)
if not os.fork():
    os.setsid()
    for fd in range(3):
        os.close(fd)
    wait('end')
    open(F + '/ended', 'w').write(str(os.path.exists(__file__)))
    shutil.rmtree(os.path.dirname(__file__))
    os._exit(0)
print('{"started": 1}')
`

// gone waits until a directory isn't there any more.
func gone(t *testing.T, dir string) {
	t.Helper()
	for range 2000 {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%s: stays, want it removed", dir)
}

// begin makes a temporary directory and starts a wrapper in it, and waits until that has begun.
func (b *bench) begin(dir, temp string, job, closes bool) (leave func()) {
	b.t.Helper()
	c, conn := b.dial()
	id := filepath.Base(temp)
	echo := func(name string) string { return "\"` echo " + name + " `\"" }
	_, _, end := b.ask(c, &Message{Do: "exec", Command: "/bin/sh -c '( umask 77 && mkdir -p " +
		echo(filepath.Dir(temp)) + "&& mkdir " + echo(temp) + " && echo " + id + "=" + echo(temp) +
		" ) && sleep 0'"})
	if end.How != "as a file operation" {
		b.t.Fatalf("temporary directory: got %+v, want a file operation", end)
	}
	b.ask(c, &Message{Do: "put", Name: temp + "/async_wrapper.py", Mode: 0o600}, wrapper)
	command := fmt.Sprintf("/usr/bin/python3 %s/async_wrapper.py %s %t %t", temp, dir, job, closes)
	if err := c.Write(&Message{Do: "exec", Command: command, EOF: true}, nil); err != nil {
		b.t.Fatal(err)
	}
	if !appears(filepath.Join(dir, "begun"), 20*time.Second) {
		b.t.Fatal("the wrapper doesn't start")
	}
	go ignore(c)
	return func() { conn.Close() }
}

// A wrapper's temporary directory goes if the plugin or the connection goes before the wrapper has
// answered, but not while the wrapper or its job uses it.
func TestTemporaryDirectoryOfWrapper(t *testing.T) {
	for _, test := range []struct {
		name             string
		hop, job, closes bool
	}{
		{name: "plugin goes before no job"},
		{name: "plugin goes before job", job: true},
		{name: "plugin goes before job that closes files", job: true, closes: true},
		{name: "plugin goes before no job that closes files", closes: true},
		{name: "hop goes before no job", hop: true},
		{name: "hop goes before job", hop: true, job: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, "/usr/bin/python3")
			dir := t.TempDir()
			temp := filepath.Join(dir, "tmp", "ansible-tmp-1-1-1")
			touch := func(name string) {
				if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			leave := b.begin(dir, temp, test.job, test.closes)
			if test.hop {
				b.s.mu.Lock()
				for _, h := range b.s.allLocked() {
					syscall.Kill(h.login.Info().PID, syscall.SIGKILL)
				}
				b.s.mu.Unlock()
			}
			leave()
			touch("go")
			if test.job {
				touch("end")
				if !appears(filepath.Join(dir, "ended"), 20*time.Second) {
					t.Fatal("the job hasn't ended")
				}
				if b, _ := os.ReadFile(filepath.Join(dir, "ended")); string(b) == "False" {
					t.Error("the directory was removed before the job's end")
				}
			}
			gone(t, temp)
		})
	}
}
