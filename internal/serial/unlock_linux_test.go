package serial

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mitogen-go/mitogen/internal/consolesim"
)

// TestUnlocked: a device that is closed can be opened at once, though a process that is being
// started still has the descriptor. One who finds it in use leaves it locked.
func TestUnlocked(t *testing.T) {
	c := consolesim.New(t, consolesim.Options{Rate: serialRate, Session: []string{"/bin/sh", "-i"}})
	wire, err := openDevice(c.Device, 115200)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := openDevice(c.Device, 115200); !errors.Is(err, ErrBusy) {
			t.Errorf("open while it is open: got error %v, want %v", err, ErrBusy)
		}
	}
	d := wire.(*device)
	conn, err := d.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	copied := -1
	conn.Control(func(fd uintptr) { copied, err = unix.Dup(int(fd)) })
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(copied)
	d.Close()
	again, err := openDevice(c.Device, 115200)
	if err != nil {
		t.Fatalf("open after the end: got error %v", err)
	}
	again.Close()
}
