package cli

import (
	"errors"
	"os"
	"syscall"
	"testing"
)

// TestSignalStatus: a command ends with the status that shells give for the signal.
func TestSignalStatus(t *testing.T) {
	for _, test := range []struct {
		sig     os.Signal
		status  int
		message string
	}{
		{syscall.SIGINT, 130, "interrupted"},
		{syscall.SIGTERM, 143, "interrupted"},
		{syscall.SIGHUP, 129, "interrupted"},
	} {
		cause := interruption(test.sig)
		if status := cause.status(); status != test.status || !errors.Is(cause, errInterrupted) {
			t.Errorf("%s: got status %d of %v, want %d", test.sig, status, cause, test.status)
		}
		if p := verdict(cause); p.status != test.status || p.Message != test.message {
			t.Errorf("%s: got %q with status %d, want %q with %d", test.sig, p.Message, p.status,
				test.message, test.status)
		}
	}
}

// TestHeartbeatFlag: 0 is off; what a context can't be told is refused.
func TestHeartbeatFlag(t *testing.T) {
	for text, want := range map[string]string{"0": "0", "0s": "0", "90": "1m30s", "5m": "5m0s",
		"1.5s": "1.5s", "-1": "error", "0.5": "error", "x": "error"} {
		var h heartbeat
		got := "error"
		if h.Set(text) == nil {
			got = h.String()
		}
		if got != want {
			t.Errorf("--heartbeat %s: got %s, want %s", text, got, want)
		}
	}
}
