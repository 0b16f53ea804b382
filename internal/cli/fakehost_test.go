package cli

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
)

// nasty is a text of a compromised host. It has controls of terminals, invisible characters,
// changes of direction, ends of lines and bytes that are no UTF-8.
const nasty = "\x1b]0;owned\x07\x1b[31m\u009b2J\u0085\x0b\x0c\x08\x7f\r" +
	"\u202e\u2066\u200f\u061c\u2028\u2029\u200b\ufe0f\U000e0041\xed\xa0\x80"

// forgeries are lines that a host writes to imitate other lines.
var forgeries = append(
	slices.Clip(ofProgram),
	"web9: forged",
	`{"host":"web9"}`,
	"fakehost: forged",
	"daemon, pid 0",
)

// ofProgram are those that only this program writes to standard error.
var ofProgram = []string{
	"error: forged",
	"hint: curl | sh",
	"warning: forged",
	"2 of 2 well",
	"10:00:00 ERR forged",
}

// poisoned is the text that stands for a field: its mark, what is nasty, and forged lines.
func poisoned(field string) string {
	return "@" + field + "@" + nasty + "\n" + strings.Join(
		forgeries,
		"\n",
	) + "\n" + "\n  @" + field + "@\n"
}

// poisonedBytes is poisoned for what needn't be text: a raw C1 control, an overlong one, the
// beginning of a character.
func poisonedBytes(field string) string { return "\x9b2J\xc0\x9b" + poisoned(field) + "\xf0\x9f" }

// fakehost plays a context that has been taken over: it answers in the way that $FAKE names, with
// poison in each text.
type fakehost struct {
	id  wire.ContextID
	how string
	out *bufio.Writer
}

func fakehostMain() {
	in := bufio.NewReader(os.Stdin)
	head, err := in.ReadString('\n')
	found := regexp.MustCompile(`C=\((\d+),`).FindStringSubmatch(head)
	if err != nil || found == nil {
		fmt.Fprintln(os.Stderr, "fakehost: no head")
		os.Exit(3)
	}
	id, _ := strconv.Atoi(found[1])
	h := &fakehost{wire.ContextID(id), os.Getenv("FAKE"), bufio.NewWriter(os.Stdout)}
	h.begin()
	sc := wire.NewScanner(in)
	sc.Noise = func([]byte) {}
	for {
		f, err := sc.Next()
		if err != nil {
			return
		}
		f.Payload = bytes.Clone(f.Payload)
		h.take(&f)
		h.out.Flush()
	}
}

// begin says what a context says by itself.
func (h *fakehost) begin() {
	defer h.out.Flush()
	fmt.Fprint(h.out, poisonedBytes("noise before"), "\n"+boot.EC0+"\n")
	if h.how == "no hello" {
		fmt.Fprint(os.Stderr, poisonedBytes("last words"))
		h.out.Flush()
		os.Exit(1)
	}
	h.send(wire.Hello, 0, wire.Data, h.hello())
	h.send(
		wire.Log,
		0,
		wire.Data,
		value(
			pyvalue.Tuple{
				int64(40),
				poisoned("log.logger"),
				1.0,
				poisoned("log.message"),
				poisoned("log.traceback"),
			},
		),
	)
	h.send(wire.Stdout, 0, wire.Data, []byte(poisonedBytes("stdout")))
	h.send(wire.Stderr, 0, wire.Data, []byte(poisonedBytes("stderr")))
	h.send(wire.GetModule, 0, wire.Data, []byte(poisonedBytes("module asked for")))
	h.send(
		wire.GetFile,
		1000,
		wire.Data,
		[]byte("r"+poisonedBytes("package")+"\x00"+poisonedBytes("file asked for")),
	)
	h.send(
		wire.Lost,
		0,
		wire.Data,
		append(wire.AppendU32(nil, wire.ContextID(4711)), poisonedBytes("lost of nobody")...),
	)
	h.send(77, 0, wire.Data, []byte(poisonedBytes("unknown handle")))
	fmt.Fprint(h.out, poisonedBytes("noise after"))
}

func (h *fakehost) hello() []byte {
	return value(map[string]any{
		"version": pyvalue.Tuple{
			int64(3),
			int64(11),
			int64(7),
			"final",
			int64(0),
		}, "implementation": poisoned("hello.implementation"),
		"platform": poisoned(
			"hello.platform",
		), "uid": 1000, "hostname": poisoned("hello.hostname"), "pid": os.Getpid(),
		"executable": poisoned("hello.executable"), "pickle": 4})
}

func value(v any) []byte {
	b, err := pickle.Append(nil, v, pickle.Proto4)
	if err != nil {
		panic(err)
	}
	return b
}

func (h *fakehost) send(handle, reply wire.Handle, kind wire.Kind, payload []byte) {
	f := wire.Frame{
		Kind:    kind,
		Src:     h.id,
		Auth:    h.id,
		Handle:  handle,
		Reply:   reply,
		Payload: payload,
	}
	h.out.Write(f.Append(nil))
}

// take answers a frame.
func (h *fakehost) take(f *wire.Frame) {
	switch f.Handle {
	case wire.Ping:
		h.send(f.Reply, 0, wire.Data, f.Payload)
	case wire.Ask:
		h.send(wire.Lacks, 0, wire.Data, nil)
	case wire.Call:
		h.answer(f)
	case wire.Open:
		if f.Kind == wire.Data && f.Reply != 0 {
			h.fail(f.Reply)
		}
	case wire.Connect:
		h.connect(f)
	case wire.Shutdown:
		os.Exit(0)
	}
}

// answer answers a call.
func (h *fakehost) answer(f *wire.Frame) {
	switch {
	case bytes.HasPrefix(f.Payload, []byte("_mitogen_run:")):
		h.send(f.Reply, 0, wire.Data, value(0))
	case h.how == "result":
		h.send(
			f.Reply,
			0,
			wire.Data,
			value(map[string]any{poisoned("result.key"): poisoned("result.text")}),
		)
	case h.how == "dead":
		h.send(f.Reply, 0, wire.Dead, []byte(poisonedBytes("dead")))
	case h.how == "end":
		fmt.Fprint(os.Stderr, poisonedBytes("end"))
		os.Exit(1)
	case h.how == "corrupt":
		b := (&wire.Frame{Src: h.id, Auth: h.id, Handle: f.Reply,
			Payload: []byte(poisonedBytes("corrupt"))}).Append(
			nil,
		)
		b[len(b)-1]++
		h.out.Write(b)
	case h.how == "unshown":
		h.send(f.Reply, 0, wire.Data, []byte("\x80\x02c"+poisonedBytes("global.module")+"\nx\n."))
	default:
		h.fail(f.Reply)
	}
}

// fail answers with an exception.
func (h *fakehost) fail(reply wire.Handle) {
	trace := "Traceback (most recent call last):\n  File \"x\", line 1\n" + poisoned(
		"error.traceback",
	)
	h.send(
		reply,
		0,
		wire.Error,
		value(
			pyvalue.Tuple{
				poisoned("error.module"),
				poisoned("error.type"),
				poisoned("error.text"),
				trace,
				pyvalue.Tuple{poisoned("error.args")},
			},
		),
	)
}

// connect answers a CONNECT.
func (h *fakehost) connect(f *wire.Frame) {
	child := append([]byte(nil), f.Payload[:4]...)
	switch h.how {
	case "dead":
		h.send(f.Reply, 0, wire.Dead, []byte(poisonedBytes("connect.dead")))
	case "end":
		h.send(wire.Lost, 0, wire.Data, append(child, poisonedBytes("lost.why")...))
	case "unshown":
		h.send(f.Reply, 0, wire.Error, []byte(poisonedBytes("connect.garbage")))
	default:
		h.send(
			f.Reply,
			0,
			wire.Error,
			value(pyvalue.Tuple{poisoned("failure.what"), int64(1), poisoned("failure.text"), int64(0)}),
		)
	}
}
