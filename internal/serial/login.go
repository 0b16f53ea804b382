package serial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mitogen-go/mitogen/internal/lazyregexp"
	"github.com/mitogen-go/mitogen/internal/seriallink"
	"github.com/mitogen-go/mitogen/secret"
)

// A state says what a console waits for.
type state int

const (
	silent      state = iota // nothing, or nothing that is known
	asksLogin                // a name
	asksSecret               // a password
	asksRescue               // root's password, for maintenance
	asksEnter                // Enter
	atShell                  // a command
	atRamdisk                // a command, before the system is there
	bootLoader               // a boot loader's menu or prompt
	refusedUser              // nothing: the login was refused
)

// states has the sign of each, which stands on the last line of what is shown.
var states = []struct {
	state state
	sign  *lazyregexp.Regexp
}{
	{bootLoader,
		lazyregexp.New(`(?i)(grub( rescue)?> ?|=> |ok boot: ?|stop autoboot:.*)$|GNU GRUB` +
			`|executed automatically in \d|Press any key to continue\.\.\.$`)},
	{atRamdisk, lazyregexp.New(`\(initramfs\) ?$`)},
	{asksEnter,
		lazyregexp.New(`(?i)press enter (to|for) [^\n]*` +
			`(\n\(or press control-d to continue\): ?)?$`)},
	{asksRescue,
		lazyregexp.New(`(?i)root password for (maintenance|login)[^\n]*` +
			`(\n\(or press control-d to continue\))?: ?$`)},
	{asksLogin, lazyregexp.New(`(?i)(^|[^t])\s?\blogin: ?$`)},
	{asksSecret, lazyregexp.New(`(?i)password( for [^ :]+)?: ?$`)},
	{atShell, lazyregexp.New(`[#$%>] ?$`)},
}

var refused = lazyregexp.New(`(?i)login incorrect|authentication failure|login timed out|` +
	`permission denied|account (has )?expired|cannot open access`)

// stateOf says what a console that shows text waits for.
func stateOf(text []byte) state {
	last := lastLine(text)
	for _, s := range states {
		of := last
		if s.state == bootLoader || s.state == asksRescue || s.state == asksEnter {
			of = lastOf(bytes.Clone(text), 2000)
		}
		if s.sign.Match(of) {
			return s.state
		}
	}
	return silent
}

// Errors of a login.
var (
	errBootLoader = errors.New("the machine is in its boot loader")
	errNoShell    = errors.New("what answers is neither a login nor a shell")
	errSilent     = errors.New("nothing answers on the console")
	errEchoes     = errors.New("what asks for a password would show it")
	errAgain      = errors.New("the password is asked for again")
	errWrong      = errors.New("the login was refused")
	errNoPassword = errors.New("the login asks for a password, and there is none")
)

// account says who logs in.
type account struct {
	user     string
	password func(ctx context.Context) (secret.Secret, error) // is asked once at most
}

// session says how a shell was reached.
type session struct {
	ours  bool // a login of ours began it
	given bool // the password was typed
}

// login brings the console to a shell.
func (t *talk) login(a account) (session, error) {
	s := session{}
	if err := t.greet(); err != nil {
		return s, err
	}
	named := false
	for try := 0; ; {
		now, err := t.await(named)
		if err != nil {
			return s, err
		}
		switch now {
		case bootLoader:
			return s, errBootLoader
		case atShell, atRamdisk:
			if !t.leftBehind || try > 3 {
				return s, nil
			}
			err = t.send(leaveOurs)
		case asksEnter:
			err = t.send("\r")
		case asksLogin:
			if named {
				return s, errWrong
			}
			named, s.ours = true, true
			err = t.name(a.user)
		case asksSecret, asksRescue:
			if now == asksSecret && !named {
				err = t.send("\r") // whose question it is isn't known: a new one has a name
				break
			}
			if s.given {
				return s, errAgain
			}
			s.given, err = t.password(a)
		case refusedUser:
			return s, errWrong
		case silent:
			if named && s.given && try > 0 {
				return s, nil // a prompt that isn't known: the shell is tried
			}
			err = t.send([]string{"\r", "\n"}[try%2])
		}
		if try++; err == nil && try > 8 {
			err = t.lost()
		}
		if err != nil {
			return s, err
		}
	}
}

// lost is the error of a console that comes to no state that is known.
func (t *talk) lost() error {
	if len(bytes.TrimSpace(clean(t.all))) == 0 {
		return errSilent
	}
	return errNoShell
}

// greet ends what an earlier client has left, and finds out whether a boot loader is there, where
// Enter would start something.
func (t *talk) greet() error {
	if err := t.send(seriallink.Farewell + eraseLine); err != nil {
		return err
	}
	if err := t.quiet(150 * time.Millisecond); err != nil {
		return err
	}
	if stateOf(t.text()) == bootLoader {
		return errBootLoader
	}
	t.seen = t.seen[:0]
	return t.send("\r")
}

// await waits for a state, or until nothing more is shown.
func (t *talk) await(named bool) (state, error) {
	wait := t.wait
	if named {
		wait *= 5 // a refusal takes its time
	}
	now := silent
	_, err := t.until(wait, func(text []byte) bool {
		if named && refused.Match(text) {
			now = refusedUser
			return true
		}
		now = stateOf(text)
		return now != silent
	})
	if err != nil || now == silent {
		return silent, err
	}
	if err := t.quiet(max(2*t.trip, minTrip)); err != nil { // a prompt is the last that comes
		return silent, err
	}
	text := t.text()
	if again := stateOf(text); now != refusedUser {
		now = again
	}
	t.leftBehind = string(lastLine(text)) == prompt
	t.seen = t.seen[:0]
	return now, nil
}

// name types who logs in. Enter is typed once for each: a second one might be taken for a password.
func (t *talk) name(user string) error {
	for range maxTries {
		ok, err := t.typed(user)
		if ok && err == nil {
			if err = t.send("\r"); err == nil {
				ok, err = t.until(t.takes(2)+t.wait, hasLine)
			}
		}
		if ok || err != nil {
			return err
		}
		if err := t.send(eraseLine); err != nil {
			return err
		}
		if err := t.quiet(2 * max(t.trip, minTrip)); err != nil {
			return err
		}
	}
	return errLine
}

// password types the password, if what asks does not show what is typed. It returns whether it was.
func (t *talk) password(a account) (bool, error) {
	p, err := a.password(t.ctx)
	if err != nil {
		return false, err
	}
	if p == "" {
		return false, errNoPassword
	}
	if err := t.hidden(); err != nil {
		return false, err
	}
	line := append(append(make([]byte, 0, len(p)+1), p...), '\r')
	defer clear(line)
	t.w.SetWriteDeadline(time.Now().Add(10 * time.Second))
	t.seen = t.seen[:0]
	if _, err := t.w.Write(line); err != nil {
		return true, fmt.Errorf("write console: %w", err)
	}
	_, err = t.until(t.takes(2),
		func(text []byte) bool { return len(text) > 0 }) // the end of the line
	return true, err
}

// hidden tries whether what is typed is shown: it types letters, and takes them back.
func (t *talk) hidden() error {
	for _, letter := range []string{"x", "q"} {
		t.seen = t.seen[:0]
		if err := t.send(letter); err != nil {
			return err
		}
		shown, err := t.until(t.takes(2), func(text []byte) bool {
			return bytes.Contains(text,
				[]byte(letter))
		})
		if err != nil {
			return err
		}
		if err := t.send(eraseLine); err != nil {
			return err
		}
		if !shown {
			return nil
		}
	}
	return errEchoes
}
