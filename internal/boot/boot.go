// Package boot makes what starts a context: the command that finds an interpreter, the head line
// that configures it, and the runtime image (docs/protocol.md section 5).
package boot

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"encoding/base64"
	"fmt"
	"hash/adler32"
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
	var b bytes.Buffer
	c.begin(&b)
	b.WriteString(`d=f.read(n);` +
		`exec("while len(d)<n:\n b=f.read(n-len(d))\n if not b:sys.exit(1)\n d+=b");`)
	c.end(&b, `zlib.decompress(d)`, "")
	b.WriteByte('\n')
	return b.Bytes()
}

// AheadValue returns what AheadVariable is to hold: a head that has the image's text and frames in
// it, in which modules may be as they are (wire.FormModuleText), since all is compressed together.
func AheadValue(c Config, frames []byte) (string, error) {
	p, err := pack()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.Grow(2*len(image) + len(frames))
	c.begin(&b)
	b.WriteString(`import binascii;d=zlib.decompress(binascii.a2b_base64("`)
	encoder := base64.NewEncoder(base64.StdEncoding, &b)
	if err := p.compress(encoder, frames); err != nil {
		return "", err
	}
	encoder.Close()
	fmt.Fprintf(&b, `"));s=d[:%d];A=d[%d:];d=zlib.compress(s);`, len(p.text), len(p.text))
	c.end(&b, "s", `,"AHEAD":A`)
	return b.String(), nil
}

// A packed text is compressed once for all connections, as the beginning of a zlib stream that
// compress ends.
type packed struct {
	text   []byte
	stream []byte // zlib's header, and whole blocks
	tail   []byte // of the text, which what follows may refer to
}

// window bounds how far back deflate refers.
const window = 32 << 10

// pack returns the image's text, compressed.
var pack = sync.OnceValues(func() (*packed, error) {
	text, err := source()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w, err := zlib.NewWriterLevel(&b, zlib.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err = w.Write(text); err == nil {
		err = w.Flush()
	}
	return &packed{text, b.Bytes(), text[max(0, len(text)-window):]}, err
})

// A compressor takes most of a megabyte. So there is one, which is kept while it is in use.
var (
	compressing sync.Mutex
	compressors sync.Pool // of *flate.Writer, which know the tail
)

// compress writes a zlib stream of the text and what is behind it to memory.
func (p *packed) compress(to io.Writer, behind []byte) error {
	compressing.Lock()
	defer compressing.Unlock()
	w, _ := compressors.Get().(*flate.Writer)
	if w == nil {
		var err error
		if w, err = flate.NewWriterDict(nil, flate.BestCompression, p.tail); err != nil {
			return err
		}
	}
	defer compressors.Put(w)
	to.Write(p.stream)
	w.Reset(to)
	w.Write(behind)
	w.Close()
	sum := adler32.New()
	sum.Write(p.text)
	sum.Write(behind)
	_, err := to.Write(sum.Sum(nil))
	return err
}

// source is the image's text.
var source = sync.OnceValues(func() ([]byte, error) {
	r, err := zlib.NewReader(bytes.NewReader(image))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
})

// begin writes the beginning of a line that configures a context. Code follows that sets d to the
// image.
func (c Config) begin(w io.Writer) {
	fmt.Fprintf(w, "C=(%d,(", c.ID)
	for _, p := range c.Parents {
		fmt.Fprintf(w, "%d,", p)
	}
	fmt.Fprintf(w, "),%s,%d,%d,%d,%d);import sys,zlib;",
		literal(c.Name), c.MaxMessage, c.Heartbeat, c.BusyTimeout, c.LogLevel)
}

// end writes the end of the line. text is code for the image's text, names are more of what the
// runtime finds set.
func (c Config) end(w io.Writer, text, names string) {
	fmt.Fprintf(w, `m=type(sys)("_mitogen");sys.modules["_mitogen"]=m;`+
		`m.__dict__.update({"C":C,"IMAGE":d%s});exec(compile(%s,"<mitogen>","exec"),m.__dict__)`, names, text)
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
