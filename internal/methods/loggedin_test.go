package methods

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/boot"
)

const authenticated = "Authenticated to web ([10.0.0.1]:22) using \"publickey\".\n"

// What a server or a jump host says before the login isn't taken for the login.
func TestLoginIsNotForged(t *testing.T) {
	for _, tt := range []struct {
		method, text string
		kind         error
		loggedIn     bool
	}{
		{"ssh", "banner\n" + authenticated + "me@web: Permission denied (publickey,password).\r\n",
			connect.ErrAuth, false},
		{"ssh", authenticated + "Received disconnect from 10.0.0.1 port 22:2: Too many authentication " +
			"failures\r\n", nil, false},
		{"ssh", authenticated + "channel 0: open failed: connect failed: Connection refused\nstdio " +
			"forwarding failed\nConnection closed by UNKNOWN port 65535\n", nil, false},
		{"ssh", authenticated + "kex_exchange_identification: Connection closed by remote host\n", nil,
			false},
		{"ssh", authenticated + "Host key verification failed.\r\n", nil, false},
		{"docker", authenticated + "permission denied while trying to connect to the Docker daemon " +
			"socket\n", nil, false},
		{"ssh", authenticated + "motd\n", nil, true},
		{"ssh", "Permission denied, please try again.\n" + authenticated, nil, true},
	} {
		e := Classify(tt.method, Failure{What: WhatExit, Status: 255, Text: tt.text,
			LoggedIn: LoggedIn(tt.text)})
		if e.LoggedIn != tt.loggedIn || tt.kind != nil && !errors.Is(e, tt.kind) ||
			!tt.loggedIn && tt.kind == connect.ErrAuth && e.Passing {
			t.Errorf("%s: %q: got %v, logged in %v, passing %v", tt.method, tt.text, e.Kind, e.LoggedIn,
				e.Passing)
		}
	}
}

// What a program prints proves neither that an interpreter was there nor that there was none: only
// who carries out the plan knows.
func TestStartIsNotForged(t *testing.T) {
	const denied = "me@web: Permission denied (publickey).\r\n"
	for _, tt := range []struct {
		method  string
		f       Failure
		kind    error
		phase   string
		started bool
	}{
		{"ssh", Failure{What: WhatExit, Status: 255, Text: boot.EC0 + "\n" + denied}, connect.ErrAuth,
			connect.PhaseLogin,
			false},
		{"ssh", Failure{What: WhatExit, Status: 255,
			Text: boot.EC1 + "\r\nssh: connect to host web port 22: Connection refused\r\n"},
			connect.ErrRefused,
			connect.PhaseLogin, false},
		{"ssh", Failure{What: WhatExit, Status: 255, Text: boot.NoPython + "\n" + denied},
			connect.ErrAuth,
			connect.PhaseLogin, false},
		{"ssh", Failure{What: WhatTimeout, Text: "\n" + boot.EC0 + "\n"}, connect.ErrTimeout,
			connect.PhaseLogin, false},
		{"sudo", Failure{What: WhatExit, Status: 1,
			Text: boot.EC0 + "\nsudo: 1 incorrect password attempt\n"}, connect.ErrSudoPassword,
			connect.PhaseLogin, false},
		{"docker", Failure{What: WhatExit, Status: 1,
			Text: boot.EC0 + "\nCannot connect to the Docker daemon at unix:///x\n"}, connect.ErrRefused,
			connect.PhaseLogin,
			false},
		{"ssh", Failure{What: WhatExit, Status: 127, Text: "sh: " + boot.NoPython + ": not found\n"},
			connect.ErrNoPython, connect.PhasePython, false},
		{"ssh", Failure{What: WhatTimeout, Started: true}, connect.ErrTimeout, connect.PhasePython, true},
		{"ssh", Failure{What: WhatExit, Status: 255, Text: denied, Started: true}, connect.ErrDied,
			connect.PhasePython,
			true},
	} {
		e := Classify(tt.method, tt.f)
		if e.Kind != tt.kind || e.Phase != tt.phase || e.Started != tt.started ||
			e.LoggedIn != tt.started {
			t.Errorf("%s: %+v: got %v in phase %q, started %v, logged in %v, want %v in %q, %v", tt.method,
				tt.f, e.Kind, e.Phase,
				e.Started, e.LoggedIn, tt.kind, tt.phase, tt.started)
		}
	}
}

// A LoginWatch needs no more than the line it is at, wherever reads cut it, and remembers what
// comes before any amount of text.
func TestLoginWatch(t *testing.T) {
	much := strings.Repeat("motd\n", TextLimit)
	for _, tt := range []struct {
		text string
		want bool
	}{
		{authenticated + much, true},
		{much + authenticated, true},
		{authenticated + strings.Repeat("x", 2*TextLimit) + "\n", true},
		{authenticated + much + "me@web: Permission denied (publickey).\r\n", false},
		{authenticated + much + "kex_exchange_identification: Connection closed by remote host\n", false},
		{strings.Repeat("x", TextLimit) + authenticated, false},
		{strings.Repeat("x", 2*TextLimit) + "\n" + authenticated, true},
		{"motd " + authenticated, false},
		{strings.TrimSuffix(authenticated, "\n"), false},
	} {
		for _, size := range []int{1, 7, len(tt.text)} {
			var w LoginWatch
			for b := range slices.Chunk([]byte(tt.text), size) {
				w.Feed(b)
			}
			if w.LoggedIn != tt.want || len(w.line) > TextLimit+1 {
				t.Errorf("%.60q… by %d: got %v with %d bytes kept, want %v", tt.text, size, w.LoggedIn,
					len(w.line), tt.want)
			}
		}
	}
}
