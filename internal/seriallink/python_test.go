package seriallink_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/seriallink"
	_ "github.com/mitogen-go/mitogen/internal/testenv"
	"github.com/mitogen-go/mitogen/internal/testpython"
)

// farEnd is the Python end of a link, whose line is a pair of pipes.
type farEnd struct {
	t    *testing.T
	link *seriallink.Link
	in   io.Writer
	out  *os.File
	cmd  *exec.Cmd
	rng  *rand.Rand
	hurt float64 // of each byte, in both directions

	got map[seriallink.Kind][]byte
}

const linkKey = 0x8badf00d

// newFarEnd starts a command behind the Python end.
func newFarEnd(t *testing.T, python string, hurt float64, argv ...string) *farEnd {
	t.Helper()
	source, ok := boot.Module("_mitogen_serial")
	if !ok {
		t.Fatal("the runtime has no _mitogen_serial")
	}
	var quoted []string
	for _, a := range argv {
		quoted = append(quoted, fmt.Sprintf("%q", a))
	}
	key := uint32(linkKey)
	cmd := exec.Command(python, "-c", fmt.Sprintf("%s\nserve(%d,0,0.01,20,[%s],['GONE'])\n", source,
		int32(key), strings.Join(quoted, ",")))
	cmd.Env = append(os.Environ(), "GONE=x", "MITO_PP=/kept")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		r.Close()
	})
	return &farEnd{
		t: t, link: seriallink.New(seriallink.Options{Key: key, Trip: 10 * time.Millisecond,
			Idle: 20 * time.Second}, time.Now()),
		in: in, out: r, cmd: cmd, rng: testpython.Draw(t.Name()), hurt: hurt,
		got: map[seriallink.Kind][]byte{},
	}
}

func (f *farEnd) damage(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for _, x := range b {
		switch r := f.rng.Float64(); {
		case r < f.hurt/3:
		case r < 2*f.hurt/3:
			out = append(out, x^1<<f.rng.IntN(8))
		case r < f.hurt:
			out = append(out, x, x)
		default:
			out = append(out, x)
		}
	}
	return out
}

// until passes lines to and fro till done.
func (f *farEnd) until(done func() bool) bool {
	b := make([]byte, 4096)
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); {
		if done() {
			return true
		}
		for line := f.link.Take(time.Now()); line != nil; line = f.link.Take(time.Now()) {
			f.in.Write(f.damage(line))
		}
		wait := min(max(time.Until(f.link.Next(time.Now())), time.Millisecond), 50*time.Millisecond)
		f.out.SetReadDeadline(time.Now().Add(wait))
		n, err := f.out.Read(b)
		for _, r := range f.link.Feed(f.damage(b[:n]), time.Now()) {
			f.got[r.Kind] = append(f.got[r.Kind], r.Data...)
			if r.Kind == seriallink.End {
				f.got[seriallink.End] = append([]byte("status "), r.Data...)
			}
		}
		if err == io.EOF {
			return done()
		}
	}
	return false
}

func (f *farEnd) ended() bool { return f.got[seriallink.End] != nil }

// TestPythonEnd: the Python end carries all streams of a command, on every interpreter, and ends
// with
// its status; over a bad line too.
func TestPythonEnd(t *testing.T) {
	for i, p := range testpython.Sample(t.Name()) {
		for _, hurt := range []float64{0, 1 / 1000.}[:2-min(i, 1)] { // a bad line with the first
			t.Run(fmt.Sprintf("%s, %g damaged", p.Name(), hurt), func(t *testing.T) {
				t.Parallel()
				f := newFarEnd(t, p.Path, hurt, "sh", "-c",
					`echo "$GONE,$PYTHONPATH" >&2; cat; echo done >&2; exit 5`)
				text := make([]byte, 30000)
				for i := range text {
					text[i] = byte(f.rng.Uint32())
				}
				rest := text
				ok := f.until(func() bool {
					for f.link.Room() && len(rest) > 0 {
						n := min(len(rest), 700)
						f.link.Put(seriallink.Data, rest[:n])
						if rest = rest[n:]; len(rest) == 0 {
							f.link.Put(seriallink.End, nil)
						}
					}
					return f.ended()
				})
				if !ok || !bytes.Equal(f.got[seriallink.Data], text) {
					t.Errorf("got %d of %d bytes, ended %v", len(f.got[seriallink.Data]), len(text),
						ok)
				}
				if got := string(f.got[seriallink.Error]); got != ",/kept\ndone\n" {
					t.Errorf("stderr: got %q", got)
				}
				if got := string(f.got[seriallink.End]); got != "status 5" {
					t.Errorf("end: got %q, want status 5", got)
				}
				if hurt == 0 && !f.link.Stats().Eight {
					t.Error("the 8-bit coding was not found")
				}
			})
		}
	}
}

// TestPythonEndLeaves: the Python end ends its command and itself when the near end leaves, when
// another client says farewell, and when the line ends; a command that stays is killed.
func TestPythonEndLeaves(t *testing.T) {
	python := testpython.Sample(t.Name())[0].Path
	for name, leave := range map[string]func(f *farEnd){
		"goodbye":  func(f *farEnd) { f.in.Write(f.link.Goodbye()) },
		"farewell": func(f *farEnd) { io.WriteString(f.in, "half a line"+seriallink.Farewell) },
		"hangup":   func(f *farEnd) { f.in.(io.Closer).Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFarEnd(t, python, 0, "sh", "-c", `trap "" HUP TERM; echo $$; sleep 1000`)
			if !f.until(func() bool {
				return bytes.HasSuffix(f.got[seriallink.Data],
					[]byte("\n"))
			}) {
				t.Fatal("the command has said nothing")
			}
			leave(f)
			ended := make(chan error, 1)
			go func() { ended <- f.cmd.Wait() }()
			select {
			case <-ended:
			case <-time.After(30 * time.Second):
				t.Fatal("the far end stays")
			}
			pid := strings.TrimSpace(string(f.got[seriallink.Data]))
			if _, err := os.Stat("/proc/" + pid); err == nil {
				t.Errorf("the command, process %s, stays", pid)
			}
		})
	}
}

// TestPythonEndHears: forged frames and noise change nothing at the Python end.
func TestPythonEndHears(t *testing.T) {
	f := newFarEnd(t, testpython.Sample(t.Name())[0].Path, 0, "cat")
	other := seriallink.New(seriallink.Options{Key: 1}, time.Now())
	other.Put(seriallink.Data, []byte("forged"))
	forged := other.Take(time.Now())
	for _, noise := range [][]byte{forged, []byte("&=\n"), []byte("&==\n%=\n%====\n"),
		[]byte("%\xff\xfe\n"), bytes.Repeat([]byte("&x"), 50000), {0, '\n'}, other.Goodbye()} {
		f.in.Write(append([]byte("\n"), append(noise, '\n')...))
	}
	f.link.Put(seriallink.Data, []byte("true"))
	f.link.Put(seriallink.End, nil)
	if !f.until(f.ended) || string(f.got[seriallink.Data]) != "true" {
		t.Errorf("got %q, want true", f.got[seriallink.Data])
	}
}
