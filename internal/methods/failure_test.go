package methods

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	_ "github.com/mitogen-go/mitogen/internal/testenv"

	"github.com/mitogen-go/mitogen/connect"
)

func TestClassify(t *testing.T) {
	for _, tt := range []struct {
		method string
		f      Failure
		want   error
	}{
		{"local", Failure{What: WhatExec, Status: 0, Text: "no such file"}, connect.ErrNoCommand},
		{"local", Failure{What: WhatExit, Status: 127, Text: "MITO-NOPY\n"}, connect.ErrNoPython},
		{"local", Failure{What: WhatExit, Status: 126, Text: "sh: python: Permission denied"},
			connect.ErrNoPython},
		{"local", Failure{What: WhatExit, Status: 1, Text: "MemoryError"}, connect.ErrDied},
		{"local", Failure{What: WhatExit, Status: -11, Text: ""}, connect.ErrDied},
		{"local", Failure{What: WhatTimeout, Status: 0, Text: ""}, connect.ErrTimeout},
		{"local", Failure{What: WhatForeign, Status: 0, Text: "hello"}, connect.ErrForeign},
		{"local", Failure{What: WhatCancelled, Status: 0, Text: ""}, connect.ErrCancelled},
		{"ssh", Failure{What: WhatExec, Status: 0, Text: "executable file not found in $PATH"},
			connect.ErrNoCommand},
		{"ssh", Failure{What: WhatExit, Status: 127, Text: "bash: sh: command not found"},
			connect.ErrNoShell},
		{"ssh", Failure{What: WhatExit, Status: 255,
			Text: "ssh: Could not resolve hostname x.invalid: Name or service not known"},
			connect.ErrUnknownHost},
		{"ssh", Failure{What: WhatExit, Status: 255,
			Text: "ssh: connect to host h port 22: Connection refused"}, connect.ErrRefused},
		{"ssh", Failure{What: WhatExit, Status: 255,
			Text: "ssh: connect to host h port 22: Connection timed out"}, connect.ErrTimeout},
		{"ssh", Failure{What: WhatExit, Status: 255,
			Text: "ssh: connect to host h port 22: No route to host"}, connect.ErrUnreachable},
		{"ssh", Failure{What: WhatExit, Status: 255,
			Text: "ssh: connect to host h port 22: Network is unreachable"}, connect.ErrUnreachable},
		{"ssh", Failure{What: WhatExit, Status: 255,
			Text: "ssh: connect to host h port 22: Temporary failure in name resolution"},
			connect.ErrUnknownHost},
		{"ssh", Failure{What: WhatExit, Status: 255,
			Text: "ssh: connect to host h port 22: Name does not resolve"}, connect.ErrUnknownHost},
		{"ssh", Failure{What: WhatExit, Status: 255,
			Text: "ssh: connect to host h port 22: No address associated with hostname"},
			connect.ErrUnknownHost},
		{"ssh", Failure{What: WhatExit, Status: 255, Text: "Host key verification failed."},
			connect.ErrHostKey},
		{"ssh", Failure{What: WhatExit, Status: 255,
			Text: "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\r\n" +
				"Host key verification failed.\r\n"}, connect.ErrHostKeyChanged},
		{"ssh", Failure{What: WhatExit, Status: 255,
			Text: "me@h: Permission denied (publickey,password)."}, connect.ErrAuth},
		{"ssh", Failure{What: WhatExit, Status: 255,
			Text: "Received disconnect from h: 2: Too many authentication failures"}, connect.ErrAuth},
		{"ssh", Failure{What: WhatExit, Status: 255, Text: "cfg: line 1: Bad configuration option: x"},
			connect.ErrSetup},
		{"ssh", Failure{What: WhatExit, Status: 255,
			Text: "kex_exchange_identification: Connection closed by remote host"}, connect.ErrDisconnected},
		{"ssh", Failure{What: WhatExit, Status: 255, Text: ""}, connect.ErrDisconnected},
		{"ssh", Failure{What: WhatExit, Status: 1, Text: "connection refused, says the login script"},
			connect.ErrDied},
		{"ssh", Failure{What: WhatUnanswered, Status: 0,
			Text: "Are you sure you want to continue connecting (yes/no/[fingerprint])? "},
			connect.ErrHostKey},
		{"ssh", Failure{What: WhatUnanswered, Status: 0,
			Text: "me@h's password: Permission denied (password)."}, connect.ErrPasswordRequired},
		{"ssh", Failure{What: WhatRepeated, Status: 0, Text: "me@h's password: "}, connect.ErrAuth},
		{"sudo", Failure{What: WhatExec, Status: 0, Text: "[Errno 2] No such file or directory"},
			connect.ErrNoCommand},
		{"sudo", Failure{What: WhatExec, Status: 0, Text: "fork: resource temporarily unavailable"},
			connect.ErrExhausted},
		{"sudo", Failure{What: WhatExit, Status: 1, Text: "me is not in the sudoers file."},
			connect.ErrNotInSudoers},
		{"sudo", Failure{What: WhatExit, Status: 1, Text: "Sorry, user me may not run sudo on h."},
			connect.ErrNotInSudoers},
		{"sudo", Failure{What: WhatExit, Status: 1,
			Text: "Sorry, user me is not allowed to execute '/bin/sh' as root on h."},
			connect.ErrNotInSudoers},
		{"sudo", Failure{What: WhatExit, Status: 1,
			Text: "sudo: I'm sorry me. I'm afraid I can't do that"}, connect.ErrNotInSudoers},
		{"sudo", Failure{What: WhatExit, Status: 1, Text: "sudo: sorry, you must have a tty to run sudo"},
			connect.ErrTTYRequired},
		{"sudo", Failure{What: WhatExit, Status: 1,
			Text: "sudo: no tty present and no askpass program specified"}, connect.ErrTTYRequired},
		{"sudo", Failure{What: WhatExit, Status: 1,
			Text: "sudo: a terminal is required to read the password\nsudo: a password is required"},
			connect.ErrTTYRequired},
		{"sudo", Failure{What: WhatExit, Status: 1, Text: "sudo: 1 incorrect password attempt"},
			connect.ErrSudoPassword},
		{"sudo", Failure{What: WhatExit, Status: 1,
			Text: "sudo: maximum 3 incorrect authentication attempts"}, connect.ErrSudoPassword},
		{"sudo", Failure{What: WhatRepeated, Status: 0, Text: "mitogen-password"},
			connect.ErrSudoPassword},
		{"sudo", Failure{What: WhatUnanswered, Status: 0, Text: "mitogen-password"},
			connect.ErrPasswordRequired},
		{"sudo", Failure{What: WhatExit, Status: 1, Text: "sudo: a password is required"},
			connect.ErrPasswordRequired},
		{"sudo", Failure{What: WhatExit, Status: 1, Text: "sudo: unknown user nobody2"},
			connect.ErrUnknownUser},
		{"sudo", Failure{What: WhatExit, Status: 1, Text: "sudo: user 'nobody2' not found"},
			connect.ErrUnknownUser},
		{"sudo", Failure{What: WhatExit, Status: 1, Text: "sudo: sh: command not found"},
			connect.ErrNoCommand},
		{"sudo", Failure{What: WhatExit, Status: 1,
			Text: "sudo: /usr/bin/sudo must be owned by uid 0 and have the setuid bit set"},
			connect.ErrSetup},
		{"sudo", Failure{What: WhatExit, Status: 127, Text: "MITO-NOPY"}, connect.ErrNoPython},
		{"nonesuch", Failure{What: WhatExit, Status: 3, Text: ""}, connect.ErrDied},
	} {
		e := Classify(tt.method, tt.f)
		if !errors.Is(e, tt.want) {
			t.Errorf("Classify(%s, %+v) = %v, want %v", tt.method, tt.f, e.Kind, tt.want)
		}
		if e.Phase == "" || e.Hint == "" && tt.want != connect.ErrCancelled {
			t.Errorf("%v: phase %q, hint %q", e.Kind, e.Phase, e.Hint)
		}
	}
}

func TestErrorText(t *testing.T) {
	e := Classify("ssh", Failure{What: WhatExit, Status: 255,
		Text: "a banner\r\nme@h: Permission denied (password).\r\n\r\n"})
	e.Hop = "me@h"
	const want = "connect me@h: permission denied: me@h: Permission denied (password)."
	if e.Error() != want || !strings.Contains(e.Hint, "give a password") {
		t.Errorf("%q, hint %q", e, e.Hint)
	}
	e = Classify("local", Failure{What: WhatExit, Status: -9, Text: ""})
	if e.Error() != "interpreter died (signal 9)" {
		t.Errorf("exit by signal 9: got %q, want %q", e, "interpreter died (signal 9)")
	}
	for _, tt := range []struct {
		f    Failure
		want string
	}{
		{Failure{What: WhatExit, NoStatus: true, Started: true}, "interpreter died"},
		{Failure{What: WhatExit, NoStatus: true, Text: "words"}, "interpreter died: words"},
		{Failure{What: WhatExit, Started: true,
			Text: "Traceback (most recent call last):\nOSError: [Errno 24] Too many open files"},
			"resources exhausted: OSError: [Errno 24] Too many open files"},
		{Failure{What: WhatExit, Status: 1, Started: true,
			Text: "BlockingIOError: [Errno 11] Resource temporarily unavailable"},
			"resources exhausted: BlockingIOError: [Errno 11] Resource temporarily unavailable"},
		{Failure{What: WhatExit, Status: 1, Started: true, Text: "ValueError: x"},
			"interpreter died (status 1): ValueError: x"},
	} {
		e := Classify("local", tt.f)
		if got := e.Error(); got != tt.want || OutOfDescriptors(e) {
			t.Errorf("%+v: got %q, out of descriptors %v, want %q, and not", tt.f, got, OutOfDescriptors(e),
				tt.want)
		}
	}
	e = Classify("sudo", Failure{What: WhatUnanswered, Status: 0, Text: "mitogen-password"})
	if e.Error() != "password required" {
		t.Errorf("sudo unanswered: got %q, want %q", e, "password required")
	}
}

// The line that is shown says why, wherever it stands; where all only say that it is over, the last
// is.
func TestTellingLine(t *testing.T) {
	for _, tt := range []struct {
		status      int
		words, want string
	}{
		{255, "Go home.\nConnection closed by 10.0.0.1 port 22\n",
			"connection closed by the other side: Go home."},
		{255, "** WARNING: connection is not using a post-quantum key exchange algorithm.\n** See the " +
			"page.\nConnection closed by 10.0.0.1 port 22\n",
			"connection closed by the other side: Connection closed by 10.0.0.1 port 22"},
		{255, "Closed for the night.\nAsk the porter.\n\nConnection closed by 10.0.0.1 port 22",
			"connection closed by the other side: Closed for the night. Ask the porter."},
		{255, "Warning: Identity file /k not accessible: No such file or directory.\nConnection reset " +
			"by 10.0.0.1 port 22\n",
			"connection closed by the other side: Connection reset by 10.0.0.1 port 22"},
		{255, "kex_exchange_identification: Connection closed by remote host\nConnection closed by " +
			"10.0.0.1 port 22\n", "connection closed by the other side: Connection closed by 10.0.0.1 " +
			"port 22"},
		{1, "x\nTraceback (most recent call last):\n  File \"<string>\", line 1, in <module>\n" +
			"MemoryError\n  ^^^^\n", "ended before an interpreter was there (status 1): MemoryError"},
		{9, "the shell's own words\n\xff\xfe\x81\x82\x83\x84\x85\x86\x87\x88\n",
			"ended before an interpreter was there (status 9): the shell's own words"},
	} {
		if got := Classify("ssh", Failure{What: WhatExit, Status: tt.status,
			Text: tt.words}).Error(); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.words, got, tt.want)
		}
	}
}

func TestErrorTextIsHostile(t *testing.T) {
	e := Classify("local", Failure{What: WhatExit, Status: 1,
		Text: strings.Repeat("é\x1b[2J\x9b\xff", 10000)})
	if len(e.Text) > TextLimit || len(e.Error()) > 400 || !utf8.ValidString(e.Error()) ||
		strings.ContainsAny(e.Error(), "\x1b\u009b\n") {
		t.Errorf("%d bytes: %q", len(e.Text), e)
	}
}
