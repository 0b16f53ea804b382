package cli

import (
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/muxserve"
)

// The escape character counts at the beginning of a line, however what is typed is cut.
func TestTyped(t *testing.T) {
	for _, tt := range []struct {
		in     string
		escape uint32
		out    string
		hangs  bool
	}{
		{"ls\r~.more", '~', "ls\r", true},
		{"~.", '~', "", true},
		{"ls\n~.", '~', "ls\n", true},
		{"a~.b", '~', "a~.b", false},
		{"~~.\r", '~', "~.\r", false},
		{"~~\r~~~.", '~', "~\r~~.", false},
		{"~x~.", '~', "~x~.", false},
		{"~\r~.", '~', "~\r", true},
		{"~.\r%.", '%', "~.\r", true},
		{"\x1d.", 0x1d, "", true},
		{"~.~~\r~.", muxserve.NoEscape, "~.~~\r~.", false},
		{"~?~.", '~', "", true},
		{"~?~?a~?\r~?", '~', "a~?\r", false},
		{"~~?\r%?", '~', "~?\r%?", false},
	} {
		for size := 1; size <= len(tt.in); size++ {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			hung := false
			typed, err := newTyped(r, tt.escape, io.Discard, func() { hung = true })
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(w, tt.in)
			w.Close()
			var out strings.Builder
			b := make([]byte, 2*size)
			for {
				n, err := typed.Read(b)
				out.Write(b[:n])
				if err != nil {
					break
				}
			}
			if out.String() != tt.out || hung != tt.hangs {
				t.Errorf("%q by %d: got %q, %v, want %q, %v", tt.in, size, out.String(), hung, tt.out, tt.hangs)
			}
			typed.close()
			r.Close()
		}
	}
}

// A question mark behind the escape character shows what that is for, by the name of its key.
func TestTypedTellsOfEscapes(t *testing.T) {
	for _, tt := range []struct {
		in     string
		escape uint32
		want   []string
	}{
		{"~?", '~', []string{"~?\r\n", " ~.  ends the connection\r\n", " ~~  types ~\r\n"}},
		{"%?", '%', []string{"%?\r\n", " %.  ends", " %%  types %\r\n"}},
		{"\x1d?", 0x1d, []string{"^]?\r\n", " ^].  ends", " ^]^]  types ^]\r\n"}},
		{"~.", '~', []string{"~.\r\n"}},
		{"a~?", '~', nil},
		{"~?", muxserve.NoEscape, nil},
	} {
		var said strings.Builder
		typed := &typed{escape: tt.escape, help: &said, hangUp: func() {}, line: true}
		typed.filter(nil, []byte(tt.in))
		for _, want := range tt.want {
			if !strings.Contains(said.String(), want) {
				t.Errorf("%q: got %q, want %q in it", tt.in, said.String(), want)
			}
		}
		if tt.want == nil && said.Len() > 0 {
			t.Errorf("%q: got %q, want nothing", tt.in, said.String())
		}
	}
}

// A Read that waits ends when it is to.
func TestTypedIsInterrupted(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	typed, err := newTyped(r, '~', io.Discard, func() {})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, err := typed.Read(make([]byte, 8))
		done <- err
	}()
	typed.SetReadDeadline(time.Unix(1, 0))
	if err := <-done; err != os.ErrDeadlineExceeded {
		t.Errorf("got %v, want %v", err, os.ErrDeadlineExceeded)
	}
	typed.close()
}
