package sshnative

import (
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// All that a command writes to stderr is taken, in little room.
func TestStderr(t *testing.T) {
	long := strings.Repeat("line\n", 1000)
	for _, tt := range []struct {
		name string
		r    io.Reader
		want string // the end of
		err  error
	}{
		{"nothing", strings.NewReader(""), "", nil},
		{"more than the room", strings.NewReader(long), "line\nline\n", nil},
		{"data with the end", iotest.DataErrReader(strings.NewReader("last")), "last", nil},
		{"an error", io.MultiReader(strings.NewReader("x"), iotest.ErrReader(errShort)), "x", errShort},
	} {
		p := &Process{}
		_, err := io.Copy((*stderr)(p), struct{ io.Reader }{tt.r})
		if !errors.Is(err, tt.err) || !strings.HasSuffix(p.Text(), tt.want) {
			t.Errorf("%s: got %.20q, %v, want %q, %v", tt.name, p.Text(), err, tt.want, tt.err)
		}
	}
}

// Lines that come together are told one by one, wherever the room for them ends.
func TestStderrLines(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lines []string
	}{
		{"short", []string{"a", "b"}},
		{"beyond the room", strings.Split(strings.Repeat("some line,", 1000)+"end", ",")},
		{"as long as the room", []string{strings.Repeat("x", stderrRoom-1), "b", "c"}},
		{"a long one after a short one", []string{"a", strings.Repeat("x", stderrRoom-1), "c"}},
	} {
		var got []string
		p := &Process{connected: true, line: func(l string) { got = append(got, l) }}
		io.Copy((*stderr)(p), struct{ io.Reader }{strings.NewReader(strings.Join(tt.lines, "\n") + "\n")})
		if !slices.Equal(got, tt.lines) {
			t.Errorf("%s: got %d lines, want %d", tt.name, len(got), len(tt.lines))
		}
	}
}

// A connection that is idle has no more than the room for its stderr.
func TestStderrIsSmall(t *testing.T) {
	const n = 100
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range n {
		io.Copy((*stderr)(&Process{}), struct{ io.Reader }{strings.NewReader("x")})
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / n; each > 2*stderrRoom {
		t.Errorf("stderr of a connection: got %d bytes, want at most %d", each, 2*stderrRoom)
	}
}

var errShort = errors.New("short")

// A new limit takes the place of the old one.
func TestLimitAgain(t *testing.T) {
	p := &Process{}
	p.Limit(time.Hour)
	first := p.limit
	p.Limit(time.Hour)
	if first.Stop() {
		t.Error("the first limit was still to come, want it stopped")
	}
	p.limit.Stop()
}
