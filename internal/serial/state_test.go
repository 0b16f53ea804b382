package serial

import (
	"bytes"
	"testing"
)

// TestStates: what consoles show says what they wait for.
func TestStates(t *testing.T) {
	for _, c := range []struct {
		text string
		want state
	}{
		{"\r\nDebian GNU/Linux 12 vm ttyS0\r\n\r\nvm login: ", asksLogin},
		{"login:", asksLogin},
		{"vm login: [   12.345678] usb 1-1: new device\r\n", asksLogin},
		{"FreeBSD/amd64 (vm) (ttyu0)\r\n\r\nlogin: ", asksLogin},
		{"vm login: root\r\n", silent},
		{"Last login: Mon Nov 30 on ttyS0\r\n", silent},
		{"vm login: root\r\nPassword: ", asksSecret},
		{"Password for root: ", asksSecret},
		{"\x1b[?2004hroot@vm:~# ", atShell},
		{"\x1b]0;root@vm: ~\x07root@vm:~# \x1b[K", atShell},
		{"\x1b[1;32m~\x1b[0m $ ", atShell},
		{"/ # \x1b[6n", atShell},
		{"vm% ", atShell},
		{"me@vm ~> ", atShell},
		{"downloading 50%", atShell}, // a shell is tried, and doesn't answer
		{"BusyBox v1.35.0\r\n\r\n(initramfs) ", atRamdisk},
		{"Give root password for maintenance\r\n(or press Control-D to continue): ", asksRescue},
		{"Give root password for login: ", asksRescue},
		{"Press Enter for maintenance\r\n(or press Control-D to continue): ", asksEnter},
		{"Please press Enter to activate this console.", asksEnter},
		{"grub> ", bootLoader},
		{"grub rescue> ", bootLoader},
		{"\x1b[1;1H\x1b[2J  GNU GRUB  version 2.06\x1b[3;1H*Debian", bootLoader},
		{"The highlighted entry will be executed automatically in 5s.", bootLoader},
		{"Hit any key to stop autoboot:  3", bootLoader},
		{"=> ", bootLoader},
		{"", silent},
		{"[    0.000000] Linux version 6.1\r\n[    0.1", silent},
	} {
		if got := stateOf(clean([]byte(c.text))); got != c.want {
			t.Errorf("%q: got state %d, want %d", c.text, got, c.want)
		}
	}
}

// TestClean: messages of the kernel and escape sequences are taken out, what was typed stays.
func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"C='abc[   12.345678] usb 1-1: x\r\ndef'":     "C='abcdef'",
		"p[:not p[0]]=[];":                            "p[:not p[0]]=[];",
		"\x1b[?2004ha\x1b[Kb\rc\x00":                  "abc",
		"[  1.000000] a\n[  2.000000] b\n$ ":          "$ ",
		"\x1b]0;" + string(make([]byte, 10)) + "\aok": "ok",
	} {
		if got := clean([]byte(in)); !bytes.Equal(got, []byte(want)) {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
