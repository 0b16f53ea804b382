package serial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/mitogen-go/mitogen/internal/lazyregexp"
)

// What a console keeps to itself or adds.
var (
	escapes = lazyregexp.New(`\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,200}(\x07|\x1b\\)|` +
		`[()][0-9A-B]|[=>78cDEHM])|[\r\x00\x07]`)
	// kernelLine is a message of the kernel, with the time that it puts first.
	kernelLine = lazyregexp.New(`\[ *\d+\.\d{6}\][^\n]*\n`)
)

const (
	maxSeen = 16 << 10 // bytes of output that are looked at
	minTrip = 30 * time.Millisecond
)

// errLine says that what is typed doesn't arrive as it was typed.
var errLine = errors.New("the line damages what is typed, again and again")

// talk is a dialogue on a console.
type talk struct {
	ctx   context.Context
	w     wire
	rate  int           // bytes a second; 0: not known
	trip  time.Duration // of a round trip, smoothed
	mute  bool          // no prompt of ours follows a line
	again bool          // a line was typed again
	// leftBehind says that the prompt looks like one of ours: a client that was killed has left a
	// shell.
	leftBehind bool
	wait       time.Duration // for a sign of life
	seen       []byte        // what has come, since it was looked at last
	got        []byte        // what the last read has brought
	all        []byte        // the end of all that has come, for errors
	room       [4096]byte
}

// takes returns a timeout for n bytes on the line and an answer.
func (t *talk) takes(n int) time.Duration {
	d := 4*max(t.trip, minTrip) + 200*time.Millisecond
	if t.rate > 0 {
		d += 3 * time.Duration(n) * time.Second / time.Duration(t.rate)
	}
	return d
}

// read waits for something, for so long at most. It returns whether something came.
func (t *talk) read(wait time.Duration) (bool, error) {
	if err := t.ctx.Err(); err != nil {
		return false, err
	}
	t.w.SetReadDeadline(time.Now().Add(wait))
	n, err := t.w.Read(t.room[:])
	t.got = t.room[:n]
	t.seen = lastOf(append(t.seen, t.got...), maxSeen)
	t.all = lastOf(append(t.all, t.got...), maxSeen)
	switch {
	case t.ctx.Err() != nil:
		return false, t.ctx.Err()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return false, nil
	case err != nil && n == 0:
		return false, fmt.Errorf("read console: %w", err)
	}
	return n > 0, nil
}

// lastOf returns the end of b.
func lastOf(b []byte, limit int) []byte {
	if over := len(b) - limit; over > 0 {
		return append(b[:0], b[over:]...)
	}
	return b
}

// text returns the output since the last look, without escapes and messages of the kernel.
func (t *talk) text() []byte { return clean(t.seen) }

func clean(b []byte) []byte {
	return kernelLine.ReplaceAll(escapes.ReplaceAll(b, nil), nil)
}

// lastLine is the line that has no end yet.
func lastLine(text []byte) []byte { return text[bytes.LastIndexByte(text, '\n')+1:] }

// send types bytes.
func (t *talk) send(b string) error {
	t.w.SetWriteDeadline(time.Now().Add(t.takes(len(b)) + 10*time.Second))
	if _, err := t.w.Write([]byte(b)); err != nil {
		return fmt.Errorf("write console: %w", err)
	}
	return nil
}

// until reads till found is true of what has come. It returns false when it has waited so long.
func (t *talk) until(wait time.Duration, found func(text []byte) bool) (bool, error) {
	for end := time.Now().Add(wait); ; {
		if found(t.text()) {
			return true, nil
		}
		left := time.Until(end)
		if left <= 0 {
			return false, nil
		}
		if _, err := t.read(min(left, time.Second)); err != nil {
			return false, err
		}
	}
}

// quiet reads till nothing has come for a while, or for ten times that.
func (t *talk) quiet(while time.Duration) error {
	for range 10 {
		if more, err := t.read(while); !more || err != nil {
			return err
		}
	}
	return nil
}

// Control characters.
const (
	eraseLine = "\x15"         // ^U
	restart   = "\x11\x03\x15" // ^Q ^C ^U: output goes on, what was begun is given up
)

// maxTries bounds how often a line is typed.
const maxTries = 25

// line types a line, and its end once the echo shows that it has arrived. A busy machine may take
// the end and show that late: then the line is typed again, and executed twice. Only a line that
// changes nothing the second time may be given.
func (t *talk) line(text string) error {
	for try := range maxTries {
		if try > 0 {
			if err := t.restart(try); err != nil {
				return err
			}
		}
		if ok, err := t.typed(text); err != nil {
			return err
		} else if !ok {
			continue
		}
		if ok, err := t.enter(); ok || err != nil {
			return err
		}
	}
	return errLine
}

// restart gives up what was typed of a line. A shell that hears of the interrupt only after the
// next line has come drops the next line: its prompt is waited for, longer each time.
func (t *talk) restart(try int) error {
	t.again = true
	t.seen = t.seen[:0]
	if err := t.send(restart); err != nil {
		return err
	}
	if !t.mute {
		if ok, err := t.until(t.takes(8)<<min(try-1, 3), func(shown []byte) bool {
			return bytes.HasSuffix(shown, []byte(prompt))
		}); ok || err != nil {
			return err
		}
	}
	return t.quiet(2 * max(t.trip, minTrip) << min(try-1, 3))
}

// typed types a text, and returns whether it has arrived.
func (t *talk) typed(text string) (bool, error) {
	t.seen = t.seen[:0]
	began := time.Now()
	if err := t.send(text); err != nil {
		return false, err
	}
	ok, err := t.until(t.takes(2*len(text)), func(shown []byte) bool {
		return echoed(shown, text)
	})
	if !ok || err != nil {
		return false, err
	}
	t.measure(time.Since(began), 2*len(text))
	t.seen = t.seen[:0]
	return true, nil
}

// maxEnters bounds how often the end of a line is typed, each time with twice the patience.
const maxEnters = 4

// enter types the end of a line at a shell until the console shows one: a further one is an empty
// line, to a shell and to the first code.
func (t *talk) enter() (bool, error) {
	ended, err := false, error(nil)
	for try := 0; try < maxEnters && !ended; try++ {
		if err := t.send("\r"); err != nil {
			return false, err
		}
		if ended, err = t.until(t.takes(2)<<try, hasLine); err != nil {
			return false, err
		}
	}
	if !ended || t.mute {
		return ended, nil
	}
	// Else the prompt would come into the echo of the next line.
	prompted, err := t.until(t.takes(2), func(shown []byte) bool {
		return bytes.HasSuffix(shown,
			[]byte(prompt))
	})
	t.mute = !prompted
	return true, err
}

// hasLine tells whether a line has ended.
func hasLine(shown []byte) bool { return bytes.IndexByte(shown, '\n') >= 0 }

// echoed reports whether what the console shows ends with text, whose first byte came once: the
// line may double bytes. A line editor breaks lines.
func echoed(shown []byte, text string) bool {
	before, ok := bytes.CutSuffix(bytes.ReplaceAll(shown, []byte{'\n'}, nil), []byte(text))
	return ok && (text == "" || !bytes.HasSuffix(before, []byte(text[:1])))
}

// measure takes the time of a round trip in which the line has carried n bytes.
func (t *talk) measure(took time.Duration, n int) {
	if t.rate > 0 {
		took -= time.Duration(n) * time.Second / time.Duration(t.rate)
	}
	if took = max(took, minTrip); t.trip == 0 {
		t.trip = took
	}
	t.trip += (took - t.trip) / 4
}

// prompt ends the prompt of our shell.
const prompt = "$"

// answered types a line until what it prints is there.
func (t *talk) answered(line string, want func(shown []byte) bool, wait time.Duration) (bool,
	error) {
	for range 4 {
		if err := t.line(line); err != nil {
			return false, err
		}
		if ok, err := t.until(wait, want); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}
