// Package boot makes what starts a context: the command that finds an interpreter, the head line
// that configures it, and the runtime image (docs/protocol.md section 5).
package boot

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
)

// EC0 is the line that a starting context prints before it reads anything; EC1 says besides that it has what went ahead.
const (
	EC0 = "MITO-EC0"
	EC1 = "MITO-EC1"
)

// AheadVariable names the environment variable by which head, runtime and first frames can go ahead of stdin. Debian's and
// Ubuntu's sshd accept it as they come (AcceptEnv LC_*).
const AheadVariable = "LC_MITO"

// NoPython is what the boot command has the shell look for when it finds no interpreter: so the shell
// names it on stderr, and exits with 127.
const NoPython = "MITO-NOPY"

// Interpreters are tried in this order when none is given. The last is a pattern of sh's, because the
// command has to be short.
var Interpreters = []string{"python3", "python", "python2.7", "python2", "/usr/libexec/platform-p*"}

// A stage is what the interpreter executes first. It holds no quote, backslash, exclamation mark or
// newline, so that every login shell reads it alike between single quotes.
//
// Each stage begins with own: nothing may be imported from the current directory, which -c puts
// first on the search path, unless the interpreter is told not to. Only sys is sure to be there
// before that.
const (
	own = `import sys;p=sys.path;p[:not p[0]]=[];`

	// stage makes fd 0 blocking, prints EC0, and executes the line that comes on fd 0.
	stage = own + `import os,fcntl;fcntl.fcntl(0,4,0);os.write(1,("MITO-EC0%c"%10).encode());` +
		`f=os.fdopen(0,"rb",0);exec(f.readline())`

	// aheadStage is stage for plans whose environment may have the head and more.
	aheadStage = own + `import os,fcntl;fcntl.fcntl(0,4,0);d=os.environ.pop("` + AheadVariable + `","");` +
		`os.write(1,("MITO-EC%d%c"%(d>"",10)).encode());f=os.fdopen(0,"rb",0);exec(d or f.readline())`

	// rawStage is stage for a terminal: it must not echo or edit what comes.
	rawStage = own + `import os,tty;tty.setraw(0);os.write(1,("MITO-EC0%c"%10).encode());` +
		`f=os.fdopen(0,"rb",0);exec(f.readline())`
)

// safe has an interpreter from 3.11 on leave the current directory alone from its start: 3.13
// imports a module before it runs any code. The runtime takes the variable away again.
const safe = "export PYTHONSAFEPATH=1;"

// absolute drops relative elements of PYTHONPATH, before an interpreter imports from them. Where
// nothing is left there is a name of nothing, because to Python 2 an empty PYTHONPATH is the current
// directory. A login has the variable from its own account and starts at home, so that aheadStage
// goes without.
const absolute = `IFS=:;for e in $PYTHONPATH;do case $e in /*)set $* $e;esac;done;PYTHONPATH=${*:-/-};`

// Way is how a context gets its head.
type Way int

// The ways.
const (
	Pipe     Way = iota // by stdin
	Terminal            // by stdin, which is a terminal
	Ahead               // by AheadVariable if it is there, else by stdin
)

// Command returns the argv that starts a context. Each element of python is a candidate, tried in order
// (nil: Interpreters); a candidate may hold several words ("/usr/bin/env python3").
func Command(python []string, way Way) []string {
	code := [...]string{stage, rawStage, aheadStage}[way]
	if python == nil {
		python = Interpreters
	}
	script := safe
	if way != Ahead {
		script += absolute
	}
	if len(python) == 1 {
		return []string{"sh", "-c", script + "exec " + python[0] + ` -c "$0"`, code}
	}
	script += "for p in " + strings.Join(python, " ") +
		`;do type $p>/dev/null 2>&1&&exec $p -c "$0";done;` + NoPython
	return []string{"sh", "-c", script, code}
}

// Config is what a context is told about itself.
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

// Head returns the line that goes before the image on stdin, newline included. size is that of the image in bytes.
func Head(c Config, size int) []byte { return append(fmt.Appendf(nil, "n=%d;", size), Behind(c)...) }

// Behind returns Head without its beginning, for a hop that knows the size of its image.
func Behind(c Config) []byte {
	return head(c, `d=f.read(n);`+`exec("while len(d)<n:\n b=f.read(n-len(d))\n if not b:sys.exit(1)\n d+=b");`, `zlib.decompress(d)`, "")
}

// AheadValue returns what AheadVariable is to hold: a head that has the image's text and frames in
// it, in which modules may be as they are (wire.FormModuleText), since all is compressed together.
func AheadValue(c Config, frames []byte) (string, error) {
	text, err := source()
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	w := writers.Get().(*zlib.Writer)
	defer writers.Put(w)
	w.Reset(&b)
	for _, part := range [][]byte{text, frames} {
		w.Write(part) // into memory
	}
	w.Close()
	read := fmt.Sprintf(`import binascii;d=zlib.decompress(binascii.a2b_base64("%s"));s=d[:%d];A=d[%d:];d=zlib.compress(s);`,
		base64.StdEncoding.EncodeToString(b.Bytes()), len(text), len(text))
	return strings.TrimSpace(string(head(c, read, "s", `,"AHEAD":A`))), nil
}

// writers are kept, because they are large.
var writers = sync.Pool{New: func() any {
	w, _ := zlib.NewWriterLevel(nil, zlib.BestCompression) // a level that there is
	return w
}}

// source is the image's text.
var source = sync.OnceValues(func() ([]byte, error) {
	r, err := zlib.NewReader(bytes.NewReader(image))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
})

// head is a line that configures a context; read is code that sets d to the image, text what its text is then, names are more of what the
// runtime finds set.
func head(c Config, read, text, names string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "C=(%d,(", c.ID)
	for _, p := range c.Parents {
		fmt.Fprintf(&b, "%d,", p)
	}
	fmt.Fprintf(&b, "),%s,%d,%d,%d,%d);", literal(c.Name), c.MaxMessage, c.Heartbeat, c.BusyTimeout, c.LogLevel)
	b.WriteString(`import sys,zlib;` + read +
		`m=type(sys)("_mitogen");sys.modules["_mitogen"]=m;m.__dict__.update({"C":C,"IMAGE":d` + names + `});` +
		`exec(compile(` + text + `,"<mitogen>","exec"),m.__dict__)` + "\n")
	return []byte(b.String())
}

// literal writes s as a string literal that every Python reads alike: ASCII, at most 64 characters of it.
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
