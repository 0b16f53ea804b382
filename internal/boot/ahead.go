package boot

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"hash/adler32"
	"io"
	"strconv"
	"strings"
	"sync"
)

// AheadEnv returns the variables, as os.Environ does, by which a context gets its head, the
// image's text and frames before anything comes on its stdin. Modules may be as they are in
// these frames (wire.FormModuleText), since all is compressed together. The head is text and
// says EC1 only if the data, which are no text, have arrived as they were: a program on the way
// may drop or change those.
func AheadEnv(c Config, frames []byte) ([]string, error) {
	p, err := pack()
	if err != nil {
		return nil, err
	}
	var data strings.Builder
	data.Grow(len(p.stream) + len(frames) + 1<<10)
	data.WriteString(AheadData + "=")
	if err := p.compress(noNUL{&data}, frames); err != nil {
		return nil, err
	}
	then := bytes.NewBuffer(make([]byte, 0, 1<<10))
	then.WriteString(takeData)
	c.begin(then)
	fmt.Fprintf(then, `s=d[:%d];A=d[%d:];d=zlib.compress(s);`, len(p.text), len(p.text))
	c.end(then, "s", `,"AHEAD":A`)
	then.WriteString("\nelse:exec(f.readline())\n")
	head := append(make([]byte, 0, 2<<10), AheadVariable+"=exec("...)
	head = append(strconv.AppendQuote(head, then.String()), ')')
	return []string{string(head), data.String()}, nil
}

// takeData is the beginning of the head that goes ahead. Code follows that is executed if the data
// are whole.
const takeData = `import zlib
b=lambda x:x.encode()
d=getattr(os,"environb",os.environ).pop(b("` + AheadData + `"),b(""))
try:d=zlib.decompress(d.replace(b("\1n"),b("\0")).replace(b("\1o"),b("\1")))
except Exception:d=d[:0]
m(len(d)>0)
if d:
 `

// AheadText returns the image's text and the frames behind it that are among the variables of
// AheadEnv, as a context reads them; nil if they aren't there.
func AheadText(env []string) ([]byte, error) {
	for _, v := range env {
		data, found := strings.CutPrefix(v, AheadData+"=")
		if !found {
			continue
		}
		data = strings.NewReplacer("\x01n", "\x00", "\x01o", "\x01").Replace(data)
		return inflate([]byte(data))
	}
	return nil, nil
}

// noNUL writes what has no NUL: that becomes \1n, and \1 becomes \1o.
type noNUL struct{ to *strings.Builder }

func (w noNUL) Write(p []byte) (int, error) {
	for _, c := range p {
		switch c {
		case 0:
			w.to.WriteString("\x01n")
		case 1:
			w.to.WriteString("\x01o")
		default:
			w.to.WriteByte(c)
		}
	}
	return len(p), nil
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
	stream, err := begun(Image(), text)
	return &packed{text, stream, text[max(0, len(text)-window):]}, err
})

// emptyBlock is one without data, as a stream continues: its head is three bits, and the rest
// begins on a whole byte.
var emptyBlock = []byte{0, 0, 0xff, 0xff}

// begun returns a zlib stream of one block, which packs text, as the beginning of a longer one.
func begun(stream, text []byte) ([]byte, error) {
	stream = bytes.Clone(stream[:len(stream)-adler32.Size])
	stream[zlibHeader] &^= 1                  // the block isn't the last
	for _, head := range [][]byte{nil, {0}} { // does it fit what is left of the last byte?
		open := append(append(bytes.Clone(stream), head...), emptyBlock...)
		last := append([]byte{1}, emptyBlock...)
		all := io.MultiReader(bytes.NewReader(open[zlibHeader:]), bytes.NewReader(last))
		if got, err := io.ReadAll(flate.NewReader(all)); err == nil && bytes.Equal(got, text) {
			return open, nil
		}
	}
	return nil, errors.New("the image is no zlib stream of one block")
}

// zlibHeader is the size of what stands before the first block.
const zlibHeader = 2

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
