package connect

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestClassify(t *testing.T) {
	for _, tt := range []struct {
		method string
		f      Failure
		want   error
	}{
		{"local", Failure{What: WhatExec, Status: 0, Text: "no such file"}, ErrNoCommand},
		{"local", Failure{What: WhatExit, Status: 127, Text: "MITO-NOPY\n"}, ErrNoPython},
		{"local", Failure{What: WhatExit, Status: 126, Text: "sh: python: Permission denied"}, ErrNoPython},
		{"local", Failure{What: WhatExit, Status: 1, Text: "MemoryError"}, ErrDied},
		{"local", Failure{What: WhatExit, Status: -11, Text: ""}, ErrDied},
		{"local", Failure{What: WhatTimeout, Status: 0, Text: ""}, ErrTimeout},
		{"local", Failure{What: WhatForeign, Status: 0, Text: "hello"}, ErrForeign},
		{"local", Failure{What: WhatCancelled, Status: 0, Text: ""}, ErrCancelled},
		{"ssh", Failure{What: WhatExec, Status: 0, Text: "executable file not found in $PATH"}, ErrNoCommand},
		{"ssh", Failure{What: WhatExit, Status: 127, Text: "bash: sh: command not found"}, ErrNoPython},
		{"ssh", Failure{What: WhatExit, Status: 255, Text: "ssh: Could not resolve hostname x.invalid: Name or service not known"}, ErrUnknownHost},
		{"ssh", Failure{What: WhatExit, Status: 255, Text: "ssh: connect to host h port 22: Connection refused"}, ErrRefused},
		{"ssh", Failure{What: WhatExit, Status: 255, Text: "ssh: connect to host h port 22: Connection timed out"}, ErrTimeout},
		{"ssh", Failure{What: WhatExit, Status: 255, Text: "ssh: connect to host h port 22: No route to host"}, ErrUnreachable},
		{"ssh", Failure{What: WhatExit, Status: 255, Text: "ssh: connect to host h port 22: Network is unreachable"}, ErrUnreachable},
		{"ssh", Failure{What: WhatExit, Status: 255, Text: "Host key verification failed."}, ErrHostKey},
		{"ssh", Failure{What: WhatExit, Status: 255, Text: "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\r\nHost key verification failed.\r\n"}, ErrHostKeyChanged},
		{"ssh", Failure{What: WhatExit, Status: 255, Text: "me@h: Permission denied (publickey,password)."}, ErrAuth},
		{"ssh", Failure{What: WhatExit, Status: 255, Text: "Received disconnect from h: 2: Too many authentication failures"}, ErrAuth},
		{"ssh", Failure{What: WhatExit, Status: 255, Text: "cfg: line 1: Bad configuration option: x"}, ErrSetup},
		{"ssh", Failure{What: WhatExit, Status: 255, Text: "kex_exchange_identification: Connection closed by remote host"}, ErrClosed},
		{"ssh", Failure{What: WhatExit, Status: 255, Text: ""}, ErrClosed},
		{"ssh", Failure{What: WhatExit, Status: 1, Text: "connection refused, says the login script"}, ErrDied},
		{"ssh", Failure{What: WhatUnanswered, Status: 0, Text: "Are you sure you want to continue connecting (yes/no/[fingerprint])? "}, ErrHostKey},
		{"ssh", Failure{What: WhatUnanswered, Status: 0, Text: "me@h's password: Permission denied (password)."}, ErrPasswordRequired},
		{"ssh", Failure{What: WhatRepeated, Status: 0, Text: "me@h's password: "}, ErrAuth},
		{"sudo", Failure{What: WhatExec, Status: 0, Text: "[Errno 2] No such file or directory"}, ErrNoCommand},
		{"sudo", Failure{What: WhatExec, Status: 0, Text: "fork: resource temporarily unavailable"}, ErrExhausted},
		{"sudo", Failure{What: WhatExit, Status: 1, Text: "me is not in the sudoers file."}, ErrNotInSudoers},
		{"sudo", Failure{What: WhatExit, Status: 1, Text: "Sorry, user me may not run sudo on h."}, ErrNotInSudoers},
		{"sudo", Failure{What: WhatExit, Status: 1, Text: "Sorry, user me is not allowed to execute '/bin/sh' as root on h."}, ErrNotInSudoers},
		{"sudo", Failure{What: WhatExit, Status: 1, Text: "sudo: I'm sorry me. I'm afraid I can't do that"}, ErrNotInSudoers},
		{"sudo", Failure{What: WhatExit, Status: 1, Text: "sudo: sorry, you must have a tty to run sudo"}, ErrTTYRequired},
		{"sudo", Failure{What: WhatExit, Status: 1, Text: "sudo: no tty present and no askpass program specified"}, ErrTTYRequired},
		{"sudo", Failure{What: WhatExit, Status: 1, Text: "sudo: a terminal is required to read the password\nsudo: a password is required"}, ErrTTYRequired},
		{"sudo", Failure{What: WhatExit, Status: 1, Text: "sudo: 1 incorrect password attempt"}, ErrSudoPassword},
		{"sudo", Failure{What: WhatExit, Status: 1, Text: "sudo: maximum 3 incorrect authentication attempts"}, ErrSudoPassword},
		{"sudo", Failure{What: WhatRepeated, Status: 0, Text: "mitogen-password"}, ErrSudoPassword},
		{"sudo", Failure{What: WhatUnanswered, Status: 0, Text: "mitogen-password"}, ErrPasswordRequired},
		{"sudo", Failure{What: WhatExit, Status: 1, Text: "sudo: a password is required"}, ErrPasswordRequired},
		{"sudo", Failure{What: WhatExit, Status: 1, Text: "sudo: unknown user nobody2"}, ErrUnknownUser},
		{"sudo", Failure{What: WhatExit, Status: 1, Text: "sudo: user 'nobody2' not found"}, ErrUnknownUser},
		{"sudo", Failure{What: WhatExit, Status: 1, Text: "sudo: sh: command not found"}, ErrNoCommand},
		{"sudo", Failure{What: WhatExit, Status: 1, Text: "sudo: /usr/bin/sudo must be owned by uid 0 and have the setuid bit set"}, ErrSetup},
		{"sudo", Failure{What: WhatExit, Status: 127, Text: "MITO-NOPY"}, ErrNoPython},
		{"nonesuch", Failure{What: WhatExit, Status: 3, Text: ""}, ErrDied},
	} {
		e := Classify(tt.method, tt.f)
		if !errors.Is(e, tt.want) {
			t.Errorf("Classify(%s, %+v) = %v, want %v", tt.method, tt.f, e.Kind, tt.want)
		}
		if e.Phase == "" || e.Hint() == "" && tt.want != ErrCancelled {
			t.Errorf("%v: phase %q, hint %q", e.Kind, e.Phase, e.Hint())
		}
	}
}

func TestErrorText(t *testing.T) {
	e := Classify("ssh", Failure{What: WhatExit, Status: 255, Text: "a banner\r\nme@h: Permission denied (password).\r\n\r\n"})
	e.Hop = "me@h"
	const want = "connect me@h: permission denied: me@h: Permission denied (password)."
	if e.Error() != want || !strings.Contains(e.Hint(), "give a password") {
		t.Errorf("%q, hint %q", e, e.Hint())
	}
	e = Classify("local", Failure{What: WhatExit, Status: -9, Text: ""})
	if e.Error() != "interpreter died (signal 9)" {
		t.Errorf("%q", e)
	}
	e = Classify("sudo", Failure{What: WhatUnanswered, Status: 0, Text: "mitogen-password"})
	if e.Error() != "password required" {
		t.Errorf("%q", e)
	}
}

func TestErrorTextIsHostile(t *testing.T) {
	e := Classify("local", Failure{What: WhatExit, Status: 1, Text: strings.Repeat("é\x1b[2J\x9b\xff", 10000)})
	if len(e.Text) > TextLimit || len(e.Error()) > 400 || !utf8.ValidString(e.Error()) ||
		strings.ContainsAny(e.Error(), "\x1b\u009b\n") {
		t.Errorf("%d bytes: %q", len(e.Text), e)
	}
}

func TestClean(t *testing.T) {
	for _, tt := range []struct{ in, want, line string }{
		{"plain é 世界", "plain é 世界", "plain é 世界"},
		{"a\tb\nc", "a\tb\nc", `a\x09b\x0ac`},
		{"a\r\nb\rc", "a\nb\\x0dc", `a\x0d\x0ab\x0dc`},
		{"\x1b]0;x\a", `\x1b]0;x\x07`, `\x1b]0;x\x07`},
		{"\xff\u009b\u202e\x7f", `\xff\u009b\u202e\x7f`, `\xff\u009b\u202e\x7f`},
	} {
		if got := Clean(tt.in); got != tt.want {
			t.Errorf("Clean(%q) = %q, want %q", tt.in, got, tt.want)
		}
		if got := CleanLine(tt.in); got != tt.line {
			t.Errorf("CleanLine(%q) = %q, want %q", tt.in, got, tt.line)
		}
	}
}
