package spawn

import (
	"path"
	"time"

	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/process"
	"github.com/mitogen-go/mitogen/secret"
)

// A conversation answers the questions on a process's terminal. An answer is typed only while the
// program that asks waits for it: what is typed later is read by the account that is entered.
type conversation struct {
	*Dialogue // its lock protects the following
	p         *Process
	w         waiter
	pause     time.Duration // until the program is looked at again
	planned   bool          // it will be
}

// The pauses between two looks at a program that doesn't wait for an answer yet.
const (
	firstPause = time.Millisecond
	lastPause  = 50 * time.Millisecond
)

func newConversation(p *Process) *conversation {
	names := cut(append([]string{path.Base(p.plan.Argv[0])}, askers...))
	return &conversation{
		Dialogue: NewDialogue(p.plan.Prompts), p: p, pause: firstPause,
		w: waiter{pid: p.pid, names: names, look: p.look, quiet: p.tty.quiet, now: time.Now},
	}
}

// hear takes what the terminal shows.
func (c *conversation) hear(b []byte) {
	c.Lock()
	defer c.Unlock()
	c.Feed(b)
	c.pause = firstPause
	c.reply()
}

// reply answers the question on the last line, if the program waits for it, or sees to it that it
// is answered later.
func (c *conversation) reply() {
	if c.p.settled() {
		c.drop()
		return
	}
	if !c.Asked() {
		return
	}
	switch c.state() {
	case asks:
		c.answer()
	case hidden:
		c.p.Fail(methods.WhatHidden)
	default:
		c.later()
	}
}

func (c *conversation) state() asking {
	if c.p.opt.asking != nil {
		return c.p.opt.asking()
	}
	return c.w.state()
}

// look makes a table of the processes that there are now.
func (p *Process) look() table {
	if p.opt.account != nil {
		return processes(*p.opt.account)
	}
	us, err := ourselves()
	if err != nil {
		return func(int) (*program, error) { return nil, err }
	}
	return processes(us)
}

func (c *conversation) later() {
	if c.planned {
		return
	}
	c.planned = true
	time.AfterFunc(c.pause, func() {
		c.Lock()
		defer c.Unlock()
		c.planned = false
		c.reply()
	})
	c.pause = min(2*c.pause, lastPause)
}

// answer types the answer, or ends the connect.
func (c *conversation) answer() {
	text, problem := c.Answer()
	if problem == methods.WhatUnanswered && c.p.opt.Ask != nil {
		if a, err := c.p.opt.Ask(); err == nil && methods.CheckAnswer(a) == nil {
			text, problem = secret.Secret(a).Bytes(), "" // no copy
			c.p.secrets.Add(a)
			if c.state() != asks { // the program has given up
				return
			}
		}
	}
	if problem != "" {
		c.p.Fail(problem)
		return
	}
	line := append(append(make([]byte, 0, len(text)+1), text...), '\n') // in one place
	defer clear(line)
	c.p.tty.master.SetWriteDeadline(time.Now().Add(5 * time.Second))
	c.p.tty.master.Write(line)
}

// forget drops the answers, unless a question is being answered.
func (c *conversation) forget() {
	if c.TryLock() {
		defer c.Unlock()
		c.drop()
	}
}

func (c *conversation) drop() {
	c.Dialogue.prompts, c.Dialogue.needles, c.Dialogue.seen = nil, nil, nil
}

// settled tells whether nothing is to be typed any more.
func (p *Process) settled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.connected || p.ended || p.failure != nil
}

// quiet tells whether the terminal doesn't repeat what is typed.
func (t *terminal) quiet() bool {
	c, err := t.slave.SyscallConn()
	if err != nil {
		return false
	}
	quiet := false
	err = c.Control(func(fd uintptr) { quiet = !process.Echoes(int(fd)) })
	return err == nil && quiet
}
