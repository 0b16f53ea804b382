package cli

import (
	"os"
	"sync/atomic"
	"syscall"
	"testing"
)

// A command that does not end after an interrupt says so, once, however little it can write.
func TestLastWord(t *testing.T) {
	for name, tt := range map[string]struct {
		stalls, ended bool
		want          int32
	}{
		"hangs":                       {want: 1},
		"hangs, and so does its user": {stalls: true, want: 1},
		"reports itself":              {ended: true},
	} {
		t.Run(name, func(t *testing.T) {
			stalled := make(chan struct{})
			defer close(stalled)
			var said atomic.Int32
			w := &lastWord{}
			w.begin(func(err error) int {
				if err.Error() != "interrupted" {
					t.Errorf("got %q, want interrupted", err)
				}
				said.Add(1)
				if tt.stalls {
					<-stalled
				}
				return 0
			})
			if tt.ended && !w.end() {
				t.Error("a command that ends in time: got that its end was reported, want not")
			}
			signals := make(chan os.Signal, 2)
			signals <- syscall.SIGINT
			signals <- syscall.SIGINT
			status := 0
			endBy(signals, func(error) {}, w, func(n int) { status = n })
			if got := said.Load(); got != tt.want || status != exitInterrupted {
				t.Errorf("got %d reports and status %d, want %d and %d", got, status, tt.want,
					exitInterrupted)
			}
			if w.end() {
				t.Error("after the last word: got that the command is to report, want not")
			}
		})
	}
}
