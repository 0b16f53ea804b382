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
		{"local", Failure{WhatExec, 0, "no such file"}, ErrNoCommand},
		{"local", Failure{WhatExit, 127, "MITO-NOPY\n"}, ErrNoPython},
		{"local", Failure{WhatExit, 126, "sh: python: Permission denied"}, ErrNoPython},
		{"local", Failure{WhatExit, 1, "MemoryError"}, ErrDied},
		{"local", Failure{WhatExit, -11, ""}, ErrDied},
		{"local", Failure{WhatTimeout, 0, ""}, ErrTimeout},
		{"local", Failure{WhatForeign, 0, "hello"}, ErrForeign},
		{"local", Failure{WhatCancelled, 0, ""}, ErrCancelled},
		{"ssh", Failure{WhatExec, 0, "executable file not found in $PATH"}, ErrNoCommand},
		{"ssh", Failure{WhatExit, 127, "bash: sh: command not found"}, ErrNoPython},
		{"ssh", Failure{WhatExit, 255, "ssh: Could not resolve hostname x.invalid: Name or service not known"}, ErrUnknownHost},
		{"ssh", Failure{WhatExit, 255, "ssh: connect to host h port 22: Connection refused"}, ErrRefused},
		{"ssh", Failure{WhatExit, 255, "ssh: connect to host h port 22: Connection timed out"}, ErrTimeout},
		{"ssh", Failure{WhatExit, 255, "ssh: connect to host h port 22: No route to host"}, ErrUnreachable},
		{"ssh", Failure{WhatExit, 255, "ssh: connect to host h port 22: Network is unreachable"}, ErrUnreachable},
		{"ssh", Failure{WhatExit, 255, "Host key verification failed."}, ErrHostKey},
		{"ssh", Failure{WhatExit, 255, "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\r\nHost key verification failed.\r\n"}, ErrHostKeyChanged},
		{"ssh", Failure{WhatExit, 255, "me@h: Permission denied (publickey,password)."}, ErrAuth},
		{"ssh", Failure{WhatExit, 255, "Received disconnect from h: 2: Too many authentication failures"}, ErrAuth},
		{"ssh", Failure{WhatExit, 255, "cfg: line 1: Bad configuration option: x"}, ErrSetup},
		{"ssh", Failure{WhatExit, 255, "kex_exchange_identification: Connection closed by remote host"}, ErrClosed},
		{"ssh", Failure{WhatExit, 255, ""}, ErrClosed},
		{"ssh", Failure{WhatExit, 1, "connection refused, says the login script"}, ErrDied},
		{"ssh", Failure{WhatUnanswered, 0, "Are you sure you want to continue connecting (yes/no/[fingerprint])? "}, ErrHostKey},
		{"ssh", Failure{WhatUnanswered, 0, "me@h's password: Permission denied (password)."}, ErrPasswordRequired},
		{"ssh", Failure{WhatRepeated, 0, "me@h's password: "}, ErrAuth},
		{"sudo", Failure{WhatExec, 0, "[Errno 2] No such file or directory"}, ErrNoCommand},
		{"sudo", Failure{WhatExec, 0, "fork: resource temporarily unavailable"}, ErrStart},
		{"sudo", Failure{WhatExit, 1, "me is not in the sudoers file."}, ErrNotInSudoers},
		{"sudo", Failure{WhatExit, 1, "Sorry, user me may not run sudo on h."}, ErrNotInSudoers},
		{"sudo", Failure{WhatExit, 1, "Sorry, user me is not allowed to execute '/bin/sh' as root on h."}, ErrNotInSudoers},
		{"sudo", Failure{WhatExit, 1, "sudo: I'm sorry me. I'm afraid I can't do that"}, ErrNotInSudoers},
		{"sudo", Failure{WhatExit, 1, "sudo: sorry, you must have a tty to run sudo"}, ErrTTYRequired},
		{"sudo", Failure{WhatExit, 1, "sudo: no tty present and no askpass program specified"}, ErrTTYRequired},
		{"sudo", Failure{WhatExit, 1, "sudo: a terminal is required to read the password\nsudo: a password is required"}, ErrTTYRequired},
		{"sudo", Failure{WhatExit, 1, "sudo: 1 incorrect password attempt"}, ErrSudoPassword},
		{"sudo", Failure{WhatExit, 1, "sudo: maximum 3 incorrect authentication attempts"}, ErrSudoPassword},
		{"sudo", Failure{WhatRepeated, 0, "mitogen-password"}, ErrSudoPassword},
		{"sudo", Failure{WhatUnanswered, 0, "mitogen-password"}, ErrPasswordRequired},
		{"sudo", Failure{WhatExit, 1, "sudo: a password is required"}, ErrPasswordRequired},
		{"sudo", Failure{WhatExit, 1, "sudo: unknown user nobody2"}, ErrUnknownUser},
		{"sudo", Failure{WhatExit, 1, "sudo: user 'nobody2' not found"}, ErrUnknownUser},
		{"sudo", Failure{WhatExit, 1, "sudo: sh: command not found"}, ErrNoCommand},
		{"sudo", Failure{WhatExit, 1, "sudo: /usr/bin/sudo must be owned by uid 0 and have the setuid bit set"}, ErrSetup},
		{"sudo", Failure{WhatExit, 127, "MITO-NOPY"}, ErrNoPython},
		{"nonesuch", Failure{WhatExit, 3, ""}, ErrDied},
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
	e := Classify("ssh", Failure{WhatExit, 255, "a banner\r\nme@h: Permission denied (password).\r\n\r\n"})
	e.Hop = "me@h"
	const want = "connect me@h: permission denied: me@h: Permission denied (password)."
	if e.Error() != want || !strings.Contains(e.Hint(), "give a password") {
		t.Errorf("%q, hint %q", e, e.Hint())
	}
	e = Classify("local", Failure{WhatExit, -9, ""})
	if e.Error() != "interpreter died (signal 9)" {
		t.Errorf("%q", e)
	}
	e = Classify("sudo", Failure{WhatUnanswered, 0, "mitogen-password"})
	if e.Error() != "password required" {
		t.Errorf("%q", e)
	}
}

func TestErrorTextIsHostile(t *testing.T) {
	e := Classify("local", Failure{WhatExit, 1, strings.Repeat("é\x1b[2J\x9b\xff", 10000)})
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
