package serial

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"
)

// sink is a connection that reads nothing and keeps what is written.
type sink struct {
	net.Conn
	in  io.Reader
	out bytes.Buffer
}

func (s *sink) Read(b []byte) (int, error)  { return s.in.Read(b) }
func (s *sink) Write(b []byte) (int, error) { return s.out.Write(b) }

// FuzzTelnet: whatever a console server sends, what is kept of it is bounded, answers are shorter
// than
// what they are for, and text without commands is the text.
func FuzzTelnet(f *testing.F) {
	f.Add([]byte("login: "), 3)
	f.Add([]byte{iac, will, optEcho, iac, do, 24, 'x', iac, iac, iac, sb, 24, 1, iac, se, 'y', iac},
		1)
	f.Add(append([]byte{iac, sb}, make([]byte, 2000)...), 7)
	f.Fuzz(func(t *testing.T, text []byte, step int) {
		step = 1 + (step&0x7fffffff)%16
		s := &sink{in: &stepReader{text, step}}
		tn := &telnet{Conn: s}
		var got []byte
		b := make([]byte, 64)
		for {
			n, err := tn.Read(b)
			got = append(got, b[:n]...)
			if err != nil {
				break
			}
		}
		if bytes.IndexByte(text, iac) < 0 && !bytes.Equal(got, text) {
			t.Errorf("got %q, want %q", got, text)
		}
		if len(got) > len(text) || len(tn.held) > maxCommand+step || s.out.Len() > len(text)+9 {
			t.Errorf("%d bytes of text gave %d, %d are kept, %d were answered", len(text), len(got),
				len(tn.held), s.out.Len())
		}
	})
}

type stepReader struct {
	text []byte
	step int
}

func (r *stepReader) Read(b []byte) (int, error) {
	if len(r.text) == 0 {
		return 0, io.EOF
	}
	n := copy(b, r.text[:min(r.step, len(r.text))])
	r.text = r.text[n:]
	return n, nil
}

// FuzzState: a console's text never takes long to look at, and cleaning it leaves no escape.
func FuzzState(f *testing.F) {
	f.Add([]byte("\x1b[?2004hroot@vm:~# "))
	f.Add([]byte("login: [   12.345678] usb\r\n"))
	f.Add([]byte("\x1b]0;title\x07$ "))
	f.Fuzz(func(t *testing.T, text []byte) {
		began := time.Now()
		stateOf(clean(text))
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("took %v", took)
		}
	})
}
