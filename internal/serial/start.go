package serial

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/lazyregexp"
	"github.com/mitogen-go/mitogen/internal/seriallink"
)

// Errors of the start behind a login.
var (
	errNoPython = errors.New("no Python interpreter found")
	errNoStart  = errors.New("the interpreter there doesn't start")
)

// ownShell begins a shell of ours. In a session that was there it is a child, because a shell
// that is process 1 must not be replaced. A variable tells the child from its parent, and grows by
// a digit in each shell of ours below another: a client that was killed has left that.
const ownShell = `env MITO=7$MITO sh`

// barestShell is ownShell without env, as in a small initramfs.
const barestShell = `MITO=7$MITO sh`

// ownHabits gives our shell a prompt that is known, no history, and a timeout.
const ownHabits = `PS1=\$ PS2= HISTFILE= TMOUT=60`

// leaveOurs ends the shell that reads it if it is one of ours, and no other.
const leaveOurs = ` [ "$MITO" ]&&exit` + "\r"

// names are variables of our shell, which a context must not have.
var names = []string{"MITO", "TMOUT", "HISTFILE", "PS1", "PS2", "PYTHONSAFEPATH"}

// stage is the first code of the far end. It reads numbered, checked blocks, each a line, and
// executes them. It ends after a time, and by a farewell. It holds no single quote.
const stage = `import sys;p=sys.path;p[:not p[0]]=[];import os,zlib,signal,binascii;` +
	`signal.alarm(%d);` +
	`f=os.fdopen(0,"rb",0);g={};n=%d;e="%%&".encode();` +
	`w=lambda n:os.write(1,("%%cMITO-A%%d:%%d%%c"%%(10,n,n,10)).encode());` +
	`w(-1);w(-1);w(-1);` +
	`exec("while len(g)<n:\n l=f.readline()or os._exit(1)\n if l[:2]==e:os._exit(1)\n try:\n` +
	`  i,c,d=l.split()\n  i=int(i)\n  d=binascii.a2b_base64(d)\n` +
	`  if zlib.crc32(d,i)&0xffffffff==int(c,16):g[i]=d;w(i)\n except Exception:pass\n");` +
	`exec(zlib.decompress(g[0][:0].join([g[i]for i in range(n)])))`

// stageLimit ends the first code, in seconds after its start.
const stageLimit = 240

// script is for our shell: it finds an interpreter, makes the line raw, starts the first
// code, and puts the line back when that has ended. The first is the list of interpreters.
const script = `for P in %s;do type $P&&break;P=;done;S=$(stty -g);` +
	`if [ "$P" ];then stty raw -echo;` +
	`MITO_PP=$PYTHONPATH PYTHONPATH=/- PYTHONSAFEPATH=1 $P -S -c "$C";` +
	`stty ${S:-sane};else echo MITO-\NOPY;fi;exit`

var (
	inShell  = lazyregexp.New(`MITO-427(7{0,9})\n`)
	started  = lazyregexp.New(`MITO-A-1:-1\n`)
	noPython = lazyregexp.New(`MITO-NOPY`)
	arrived  = lazyregexp.New(`MITO-A(\d+):(\d+)\n`)
)

// shell starts a shell of ours in the session's.
func (t *talk) shell(s session) error {
	for _, begin := range []string{ownShell, barestShell} {
		if s.ours {
			begin = "exec " + begin
		}
		if err := t.line(" " + begin); err != nil {
			return err
		}
		if err := t.quiet(max(2*t.trip, minTrip)); err != nil {
			return err
		}
		ok, err := t.answered(`echo MITO-$((40+2))$MITO`, inShell.Match, t.takes(20)+t.wait/3)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if above := len(inShell.FindSubmatch(t.text())[1]); above > 0 {
			return t.leaveAll(above + 1)
		}
		t.mute = false
		return t.line(ownHabits)
	}
	return errNoShell
}

// leaveAll ends shells of ours, one below the other, and returns errLeft.
func (t *talk) leaveAll(n int) error {
	for range n {
		if err := t.send(leaveOurs); err != nil {
			return err
		}
		if err := t.quiet(max(2*t.trip, minTrip)); err != nil {
			return err
		}
	}
	return errLeft
}

// errLeft says that a shell of a client that was killed was there, and is no more.
var errLeft = errors.New("a shell was left behind")

// pieceSize keeps a typed line shorter than a terminal is wide.
const pieceSize = 52

// variable sets a variable of the shell to text without single quotes, piece by piece: each piece
// is typed until it arrives. It is put behind what the one of two variables has into the other, so
// that a line that was executed twice changes nothing.
func (t *talk) variable(name, text string) error {
	spare, from := name+"_", ""
	if (len(text)+pieceSize-1)/pieceSize%2 == 0 {
		name, spare = spare, name
	}
	for len(text) > 0 {
		n := min(pieceSize, len(text))
		if err := t.line(name + "=" + from + "'" + text[:n] + "'"); err != nil {
			return err
		}
		text, from = text[n:], "$"+name
		name, spare = spare, name
	}
	return nil
}

// variables sets C and Q. Where a line had to be typed again it is looked at whether the shell has
// executed each.
func (t *talk) variables(c, q string) error {
	for range 3 {
		t.again = false
		if err := t.variable("C", c); err != nil {
			return err
		}
		if err := t.variable("Q", q); err != nil || !t.again {
			return err
		}
		// A shell counts bytes or characters.
		bytesOf, runesOf := fmt.Appendf(nil, "MITO-%d:%d\n", len(c), len(q)), fmt.Appendf(nil,
			"MITO-%d:%d\n", len(c), utf8.RuneCountInString(q))
		ok, err := t.answered("echo MITO-${#C}:${#Q}", func(shown []byte) bool {
			return bytes.Contains(shown, bytesOf) || bytes.Contains(shown, runesOf)
		}, t.takes(20))
		if ok || err != nil {
			return err
		}
	}
	return errLine
}

// first starts the first code, which is to read so many blocks.
func (t *talk) first(python []string, blocks int) error {
	if python == nil {
		python = boot.Interpreters
	}
	list := strings.Join(quoted(python), " ")
	code := fmt.Sprintf(stage, stageLimit, blocks)
	if err := t.variables(code, fmt.Sprintf(script, list)); err != nil {
		return err
	}
	if err := t.line(`eval "$Q"`); err != nil {
		return err
	}
	none := false
	ok, err := t.until(5*t.wait, func(text []byte) bool {
		none = noPython.Match(text)
		return none || started.Match(text)
	})
	switch {
	case err != nil:
		return err
	case none:
		return errNoPython
	case !ok:
		return errNoStart
	}
	return nil
}

// quoted has each candidate as one word of the shell's that holds no single quote.
func quoted(python []string) []string {
	var all []string
	for _, p := range python {
		if strings.ContainsAny(p, ` "\`) {
			p = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(p) + `"`
		}
		all = append(all, p)
	}
	return all
}

// farEnd returns the code of the far end, compressed.
func farEnd(key uint32, o seriallink.Options, argv []string) []byte {
	source, ok := boot.Module("_mitogen_serial")
	if !ok {
		panic("no far end of a link in the runtime") // it is embedded
	}
	var b bytes.Buffer
	z, err := zlib.NewWriterLevel(&b, zlib.BestCompression)
	if err != nil {
		panic(err) // there is such a level
	}
	z.Write(source)
	fmt.Fprintf(z, "\nserve(%d,%d,%s,%s,%s,%s)\n", int32(key), o.Rate, seconds(o.Trip),
		seconds(o.Idle),
		list(argv), list(names))
	z.Close()
	return b.Bytes()
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) }

// list writes a list of strings as Python reads it.
func list(all []string) string {
	var b strings.Builder
	for _, s := range all {
		b.WriteString(strconv.QuoteToASCII(s) + ",")
	}
	return "[" + b.String() + "]"
}

const (
	blockSize  = 120 // bytes of code in a block
	blocksAway = 12  // on the way at once: a terminal keeps 4,096 bytes
)

// blocks cuts code into lines for the first code. The number of a block is in its check.
func blocks(code []byte) (lines [][]byte) {
	for i := 0; len(code) > 0; i++ {
		n := min(blockSize, len(code))
		lines = append(lines, fmt.Appendf(nil, "%d %x %s\n", i, crc32.Update(uint32(i),
			crc32.IEEETable, code[:n]),
			base64.StdEncoding.EncodeToString(code[:n])))
		code = code[n:]
	}
	return lines
}

// upload sends blocks until each has arrived. What comes is given to the link too, which may begin
// before the last answer is there: upload returns what the link has brought.
func (t *talk) upload(lines [][]byte, link *seriallink.Link) (early []seriallink.Record,
	err error) {
	missing := map[int]time.Time{} // when they were sent last
	for i := range lines {
		missing[i] = time.Time{}
	}
	t.seen = t.seen[:0]
	for progress := time.Now(); len(missing) > 0 && !link.Heard(); {
		if time.Since(progress) > t.stuck(blocksAway*len(lines[0])) {
			return nil, errLine
		}
		if err := t.sendBlocks(lines, missing); err != nil {
			return nil, err
		}
		more, err := t.read(20 * time.Millisecond)
		if err != nil {
			return nil, err
		}
		early = append(early, link.Feed(t.got, time.Now())...)
		if before := len(missing); more {
			if t.settled(missing); len(missing) < before {
				progress = time.Now()
			}
		}
	}
	return early, nil
}

// stuck returns how long no block of a window of n bytes may arrive. A machine that is busy answers
// late, and has as long for that as an open link has.
func (t *talk) stuck(n int) time.Duration { return max(10*t.takes(n), Idle) }

// sendBlocks sends those that are due, as many as may be on the way.
func (t *talk) sendBlocks(lines [][]byte, missing map[int]time.Time) error {
	away, patience := 0, t.takes(blocksAway*len(lines[0]))
	for i := range lines {
		at, is := missing[i]
		if is && time.Since(at) < patience {
			away++
		}
	}
	for i, line := range lines {
		at, is := missing[i]
		if away >= blocksAway || !is || time.Since(at) < patience {
			continue
		}
		if err := t.send(string(line)); err != nil {
			return err
		}
		missing[i] = time.Now()
		away++
	}
	return nil
}

// settled takes the answers to blocks from what has come. A number comes twice, so that a damaged
// one settles no other block: the far end would wait for that.
func (t *talk) settled(missing map[int]time.Time) {
	text := clean(t.seen)
	for _, m := range arrived.FindAllSubmatch(text, -1) {
		if n, err := strconv.Atoi(string(m[1])); err == nil && bytes.Equal(m[1], m[2]) {
			delete(missing, n)
		}
	}
	if end := bytes.LastIndexByte(t.seen, '\n'); end >= 0 {
		t.seen = append(t.seen[:0], t.seen[end+1:]...)
	}
}
