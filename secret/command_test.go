package secret

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/mitogen-go/mitogen/internal/testenv"
)

// script is a Command that runs a text with sh, and a file that it can append to.
func script(t *testing.T, text string) (source Source, log string) {
	t.Helper()
	log = filepath.Join(t.TempDir(), "log")
	return Command([]string{"sh", "-c", text, log}), log
}

func lines(t *testing.T, log string) []string {
	t.Helper()
	b, err := os.ReadFile(log)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Fields(string(b))
}

var web = Place{Kind: Password, Method: "ssh", Target: "bastion+web1", Host: "web1", User: "me"}

// The command knows the place, and its first line is the secret.
func TestCommand(t *testing.T) {
	source, _ := script(t, `echo "$MITOGEN_SECRET_KIND $MITOGEN_SECRET_METHOD `+
		`$MITOGEN_SECRET_TARGET $MITOGEN_SECRET_HOST $MITOGEN_SECRET_USER $MITOGEN_SECRET_KEY."; seq `+
		`100000`)
	got, err := source(t.Context(), web)
	if want := "password ssh bastion+web1 web1 me ."; err != nil || string(got) != want {
		t.Errorf("got %q, %v, want %q", string(got), err, want)
	}
	got, err = source(t.Context(), Place{Kind: Passphrase, Method: "ssh", Target: "t", Key: "/k"})
	if want := "passphrase ssh t   /k."; err != nil || string(got) != want {
		t.Errorf("got %q, %v, want %q", string(got), err, want)
	}
}

// Errors name the place, and say what the command said last, but not its output.
func TestCommandFails(t *testing.T) {
	for text, want := range map[string]string{
		"echo hunter2; echo one >&2; echo two >&2; exit 3": "exit status 3: two",
		"kill -9 $$":                "signal: killed",
		"head -c 70000 /dev/zero":   ErrTooLong.Error(),
		"exec /nonexistent/program": "exit status 127",
	} {
		source, _ := script(t, text)
		got, err := source(t.Context(), web)
		if !errors.Is(err, ErrCommand) || got != "" || !strings.Contains(err.Error(), want) ||
			!strings.Contains(err.Error(), "password of me@web1") ||
			strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v, want %q and the place", text, err, want)
		}
	}
	if _, err := Command([]string{"/nonexistent/program"})(t.Context(),
		web); !errors.Is(err, ErrCommand) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want that there is no such program", err)
	}
	source, _ := script(t, "true")
	if got, err := source(t.Context(), web); got != "" || err != nil {
		t.Errorf("no output: got %d bytes, %v, want that there is no secret", len(got), err)
	}
}

// However often and at once places are asked for, the command runs once for each, and not often at
// once.
func TestCommandRunsOnce(t *testing.T) {
	for _, text := range []string{`echo run >>"$0"; echo word`, `echo run >>"$0"; exit 1`} {
		source, log := script(t, text)
		var all sync.WaitGroup
		for i := range 40 {
			all.Go(func() {
				p := web
				p.Host = fmt.Sprint(i % 4)
				source(t.Context(), p)
			})
		}
		all.Wait()
		if got := lines(t, log); len(got) != 4 {
			t.Errorf("%s: ran %d times, want 4", text, len(got))
		}
	}
}

func TestCommandsAtOnce(t *testing.T) {
	dir := t.TempDir()
	// Each leaves a file while it runs, and tells how many there are.
	source := Command([]string{"sh", "-c", `touch "$0/$$"; ls "$0" | wc -l; sleep 0.1; rm "$0/$$"`,
		dir})
	var all sync.WaitGroup
	var mu sync.Mutex
	for i := range 4 * maxCommands {
		all.Go(func() {
			p := web
			p.Host = fmt.Sprint(i)
			got, err := source(t.Context(), p)
			n := 0
			fmt.Sscan(string(got), &n)
			mu.Lock()
			defer mu.Unlock()
			if err != nil || n < 1 || n > maxCommands {
				t.Errorf("%d at once, %v; want at most %d", n, err, maxCommands)
			}
		})
	}
	all.Wait()
}

// A question that is given up ends its command, and says nothing about the place.
func TestCommandGivenUp(t *testing.T) {
	source, log := script(t, `echo run >>"$0"; if test "$(wc -l <"$0")" = 1; then mkfifo "$0.f"; `+
		`exec cat "$0.f"; fi; echo word`)
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error)
	go func() {
		_, err := source(ctx, web)
		first <- err
	}()
	for len(lines(t, log)) == 0 {
		time.Sleep(time.Millisecond)
	}
	second := make(chan string)
	go func() {
		got, err := source(t.Context(), web)
		second <- fmt.Sprint(string(got), err)
	}()
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	if got := <-second; got != "word<nil>" {
		t.Errorf("the other question got %q, want the word", got)
	}
}

// A program that leaves another one behind, which keeps its output open, is not waited for.
func TestCommandLeavesAProgram(t *testing.T) {
	for name, script := range map[string]string{
		"output":       "echo pw; sleep 1000 & echo $! >%s",
		"its messages": "echo pw; sleep 1000 >/dev/null & echo $! >%s",
	} {
		t.Run(name, func(t *testing.T) {
			pid := filepath.Join(t.TempDir(), "pid")
			defer func() {
				b, _ := os.ReadFile(pid)
				if n, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
					syscall.Kill(n, syscall.SIGKILL)
				}
			}()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			s, err := Command([]string{"sh", "-c", fmt.Sprintf(script, pid)})(ctx, Place{Kind: Password})
			if err != nil || s != "pw" {
				t.Errorf("got %q, %v, want the secret", string(s), err)
			}
		})
	}
}
