// Package boot makes what starts a context: the command that finds an interpreter, the head line
// that configures it, and the runtime image (docs/protocol/bootstrap.md section 5).
package boot

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// Marker begins EC0, EC1 and NoPython. No command has one of them in it: servers, shells and
// refusals quote commands.
const Marker = "MITO-"

// EC0 is the line that a starting context prints before it reads anything; EC1 says besides that it
// has what went ahead. A newline is printed before either, because what came before may have none
// at its end. Only the stream that carries the frames proves that an interpreter is there: whatever
// else a program prints may hold these lines, too.
const (
	EC0 = wire.GoReady
	EC1 = Marker + "EC1"
)

// EchoEC0 is shell code that prints EC0.
const EchoEC0 = `echo;echo ` + Marker + `\EC0`

// AheadVariable and AheadData name the environment variables by which a head, and runtime and first
// frames, can go ahead of stdin. Debian's and Ubuntu's sshd accept them as they come (AcceptEnv
// LC_*).
const (
	AheadVariable = "LC_MITO"
	AheadData     = "LC_MITO_DATA"
)

// NoPython is a command that the boot command runs when it finds no interpreter. No such command
// exists, so the shell names it on stderr and exits with 127.
const NoPython = Marker + "NOPY"

// callNoPython is shell code that runs NoPython.
const callNoPython = Marker + `\NOPY`

// Interpreters are tried in this order when none is given. The last is a pattern of sh's, because
// the command has to be short.
var Interpreters = []string{"python3", "python", "python2.7", "python2", "/usr/lib*/platform-p*"}

// A stage is the first code that the interpreter executes. It holds no quote, backslash,
// exclamation mark or newline, so that every login shell reads it alike between single quotes.
//
// Each stage begins with own: nothing may be imported from the current directory, which -c puts
// first on the search path, unless the interpreter is told not to. Only sys is sure to be there
// before that.
const (
	own = `import sys;p=sys.path;p[:not p[0]]=[];`

	// stage makes fd 0 blocking, prints EC0, and executes the line that comes on fd 0.
	stage = own + `import os,fcntl;fcntl.fcntl(0,4);os.write(1,("%c` + Marker +
		`EC%d%c"%(10,0,10)).encode());` +
		`f=os.fdopen(0,"rb",0);exec(f.readline())`

	// aheadStage is stage for plans whose environment may have the head and more. The head that is
	// there says by m whether it has all.
	aheadStage = own + `import os,fcntl;fcntl.fcntl(0,4);f=os.fdopen(0,"rb",0);` +
		`m=lambda n:os.write(1,("%c` + Marker + `EC%d%c"%(10,n,10)).encode());` +
		`exec(os.environ.pop("` + AheadVariable + `","")or"m(0);exec(f.readline())")`

	// rawStage is stage for a terminal: it must not echo or edit what comes.
	rawStage = own + `import os,tty;tty.setraw(0);os.write(1,("%c` + Marker +
		`EC%d%c"%(10,0,10)).encode());` +
		`f=os.fdopen(0,"rb",0);exec(f.readline())`
)

// safe has an interpreter from 3.11 on leave the current directory alone from its start: 3.13
// imports a module before it runs any code. The runtime takes the variable away again.
const safe = "export PYTHONSAFEPATH=1;"

// absolute drops relative elements of PYTHONPATH, before an interpreter imports from them. Where
// nothing is left there is a name of nothing, because to Python 2 an empty PYTHONPATH is the
// current directory. A login has the variable from its own account and starts at home, so that
// aheadStage goes without.
const absolute = `IFS=:;for e in $PYTHONPATH;do case $e in /*)set $* $e;esac ` +
	`done;PYTHONPATH=${*:-/-};`

// Way says by which channel a context gets its head.
type Way int

// The ways.
const (
	Pipe     Way = iota // by stdin
	Terminal            // by stdin, which is a terminal
	Ahead               // by AheadVariable if it is there, else by stdin
)

// look has the shell find a candidate. What type says goes to a variable, because a tree without
// devices has no /dev/null.
const look = "e=`type $p 2>&1`"

// Command returns the argv that starts a context. Each element of python is a candidate, tried in
// order (nil: Interpreters); a candidate may hold several words ("/usr/bin/env python3").
func Command(python []string, way Way) []string {
	if len(python) == 1 {
		code, script := way.begin()
		return []string{"sh", "-c", script + "exec " + python[0] + ` -c "$0"`, code}
	}
	return search(python, way, callNoPython)
}

// begin returns the code for the interpreter, and the beginning of what the shell is given.
func (way Way) begin() (code, script string) {
	if way == Ahead {
		return aheadStage, safe
	}
	return [...]string{stage, rawStage}[way], safe + absolute
}

// search is Command for several candidates. otherwise is shell code for when there is none of them.
func search(python []string, way Way, otherwise string) []string {
	if python == nil {
		python = Interpreters
	}
	code, script := way.begin()
	script += "for p in " + strings.Join(python, " ") +
		";do " + look + `&&exec $p -c "$0";done;` + otherwise
	return []string{"sh", "-c", script, code}
}

// Config holds the settings that the engine sends to a context in its head.
type Config struct {
	ID         uint32
	Parents    []uint32 // nearest first, ends with 0
	Name       string
	MaxMessage int // bytes
	// Heartbeat and BusyTimeout are seconds of silence after which the parent is gone, while
	// nothing runs in the context and while something does. 0: off, both.
	Heartbeat, BusyTimeout int
	LogLevel               int // Python's numbers
}

// Head returns the line that goes before the image on stdin, newline included. size is the image's,
// in bytes.
func Head(c Config, size int) []byte {
	return append(fmt.Appendf(nil, "n=%d;", size), Behind(c)...)
}

// Behind returns Head without its beginning, for a hop that knows the size of its image.
func Behind(c Config) []byte {
	var b bytes.Buffer
	c.begin(&b)
	b.WriteString(`d=f.read(n);` +
		`exec("while len(d)<n:\n b=f.read(n-len(d))\n b or sys.exit(1)\n d+=b");`)
	c.end(&b, `zlib.decompress(d)`, "")
	b.WriteByte('\n')
	return b.Bytes()
}

// begin writes the beginning of a line that configures a context. Code follows that sets d to the
// image.
func (c Config) begin(w io.Writer) {
	fmt.Fprintf(w, "C=(%d,(", c.ID)
	for _, p := range c.Parents {
		fmt.Fprintf(w, "%d,", p)
	}
	fmt.Fprintf(w, "),%s,%d,%d,%d,%d);import zlib;",
		literal(c.Name), c.MaxMessage, c.Heartbeat, c.BusyTimeout, c.LogLevel)
}

// end writes the end of the line. text is code for the image's text, names are more of what the
// runtime finds set.
func (c Config) end(w io.Writer, text, names string) {
	fmt.Fprintf(w, `m=sys.modules["_mitogen"]=type(sys)("_mitogen");v=vars(m);`+
		`v.update({"C":C,"IMAGE":d%s});exec(compile(%s,"<_mitogen>","exec"),v)`, names, text)
}

// literal writes s as a string literal that every Python reads alike: ASCII, at most 64 characters
// of it.
func literal(s string) string {
	var b strings.Builder
	for i, r := range []rune(s) {
		if i == 64 {
			break
		}
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			r = '_'
		}
		b.WriteRune(r)
	}
	return strconv.Quote(b.String())
}
