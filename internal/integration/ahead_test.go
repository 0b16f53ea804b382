package integration

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"io"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/lab"
)

// What starts a login is in its environment where sshd takes that, once; what may be secret isn't, and what it starts doesn't get it.
func TestAhead(t *testing.T) {
	l := lab.Need(t)
	const argument = "an argument that is easily found"
	for _, tt := range []struct {
		name    string
		ssh     mitogen.SSHOptions
		secret  bool
		arrives bool
		shows   bool
	}{
		{"runtime", mitogen.SSHOptions{}, false, true, false},
		{"call", mitogen.SSHOptions{CallsAhead: true}, false, true, true},
		{"secret", mitogen.SSHOptions{CallsAhead: true}, true, true, false},
		{"native", mitogen.SSHOptions{CallsAhead: true, Native: true}, false, true, true},
		{"not accepted", mitogen.SSHOptions{CallsAhead: true, Args: []string{"-o", "SendEnv=-" + boot.AheadVariable}}, false, false, false},
		{"not wanted", mitogen.SSHOptions{CallsAhead: true, NoAhead: true}, false, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// A call is waited for some milliseconds only, which a busy machine may need to make it.
			for try := 1; ; try++ {
				e := engine(t, mitogen.Options{})
				o := mitogen.ConnectOptions{SSH: tt.ssh}
				o.SSH.ConfigFile = l.Config
				c, err := e.Start(lab.Free, o)
				if err != nil {
					t.Fatal(err)
				}
				var value any = argument
				if tt.secret {
					value = mitogen.Secret(argument)
				}
				text, err := mitogen.Call[string](t.Context(), c, "here:own_environment", value)
				if err != nil {
					t.Fatal(err)
				}
				got := ""
				for v := range strings.SplitSeq(text, "\x00") {
					if after, ok := strings.CutPrefix(v, boot.AheadVariable+"="); ok {
						got = after
					}
				}
				packed, err := base64.StdEncoding.DecodeString(got)
				var all []byte
				if r, err := zlib.NewReader(bytes.NewReader(packed)); err == nil {
					all, _ = io.ReadAll(r)
				}
				if tt.shows && !strings.Contains(string(all), argument) && try < 10 {
					continue
				}
				if err != nil || strings.Contains(string(all), "class Stream") != tt.arrives || strings.Contains(string(all), argument) != tt.shows {
					t.Errorf("%d bytes in the environment, with the argument: %t, %v", len(all), strings.Contains(string(all), argument), err)
				}
				left, err := mitogen.Call[[]string](t.Context(), c, "here:variables", boot.AheadVariable)
				if err != nil || strings.Join(left, "") != "" {
					t.Errorf("%q, %v", left, err)
				}
				return
			}
		})
	}
}
