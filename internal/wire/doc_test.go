package wire_test

import (
	"bytes"
	"encoding/hex"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
)

var hexLine = regexp.MustCompile(`^    ([0-9a-f]{2}[ ]*)+$`)

// examples returns the byte examples of docs/protocol: blocks of indented lines of hex.
func examples(t *testing.T) [][]byte {
	t.Helper()
	var page []byte
	for _, file := range []string{"wire.md", "program.md", "sockets.md", "golang.md"} {
		text, err := os.ReadFile("../../docs/protocol/" + file)
		if err != nil {
			t.Fatal(err)
		}
		page = append(page, text...)
	}
	var blocks [][]byte
	inside := false
	for line := range strings.Lines(string(page)) {
		line = strings.TrimRight(line, "\n")
		if !hexLine.MatchString(line) {
			inside = false
			continue
		}
		if !inside {
			blocks = append(blocks, nil)
		}
		inside = true
		b, err := hex.DecodeString(strings.ReplaceAll(line, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		blocks[len(blocks)-1] = append(blocks[len(blocks)-1], b...)
	}
	return blocks
}

func TestExamplesOfTheProtocol(t *testing.T) {
	value, err := pickle.Append(nil, 4242, pickle.Proto2)
	if err != nil {
		t.Fatal(err)
	}
	connect, err := pickle.Append(nil,
		pyvalue.Tuple{"connect", map[string]any{"id": 1, "target": "local"}}, pickle.Proto4)
	if err != nil {
		t.Fatal(err)
	}
	allow, err := pickle.Append(nil, pyvalue.Tuple{"allow", map[string]any{
		"from": 1, "to": 2, "handle": 1000,
	}}, pickle.Proto4)
	if err != nil {
		t.Fatal(err)
	}
	open, err := pickle.Append(nil, map[string]any{
		"service": "sockets", "host": []byte("10.0.0.1"), "port": 80, "data": 1001,
	}, pickle.Proto4)
	if err != nil {
		t.Fatal(err)
	}
	served := []byte("\x00\x00\x00\x03\xeb\x00\x00\x00\x00add\x00" + // ((1,), {}), by Python:
		"\x80\x04\x95\x09\x00\x00\x00\x00\x00\x00\x00K\x01\x85\x94}\x94\x86\x94.")
	want := []wire.Frame{
		{Dst: 5, Handle: wire.Call, Reply: 1000, Payload: []byte("os:getpid\x00")},
		{Src: 5, Auth: 5, Handle: 1000, Payload: value},
		{Handle: wire.Do, Reply: 1<<30 + 1, Payload: connect},
		{Kind: wire.Item, Src: 1, Auth: 1, Handle: 1<<30 + 5, Payload: served},
		{Handle: wire.Do, Payload: allow},
		{Handle: wire.Prepare, Payload: wire.AppendPrepare(nil, 1, "mine", nil)},
		{Dst: 5, Handle: wire.Open, Reply: 1000, Payload: open},
		{Dst: 1, Handle: wire.Call, Reply: 1<<30 + 1, Payload: []byte("go:pid\x00")},
	}
	blocks := examples(t)
	if len(blocks) != len(want) {
		t.Fatalf("%d examples in docs/protocol, %d known here", len(blocks), len(want))
	}
	for i, block := range blocks {
		if got := want[i].Append(nil); !bytes.Equal(got, block) {
			t.Errorf("example %d: made\n%x, not\n%x", i, got, block)
		}
		got, err := wire.NewScanner(bytes.NewReader(block)).Next()
		if err != nil || !reflect.DeepEqual(got, want[i]) {
			t.Errorf("example %d: read %v, %v", i, got, err)
		}
	}
	if v, err := pickle.Decode(value, pickle.Limits{}); v != int64(4242) || err != nil {
		t.Errorf("the answer is %v, %v", v, err)
	}
}

// TestNumbersOfTheProtocol compares the tables of kinds and handles with the constants.
func TestNumbersOfTheProtocol(t *testing.T) {
	page, err := os.ReadFile("../../docs/protocol/wire.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?m)^\| (\d+) \| ([A-Z_]+) \|`).FindAllStringSubmatch(string(page), -1)
	if len(rows) != 5+28 {
		t.Fatalf("%d rows of kinds and handles", len(rows))
	}
	for i, row := range rows {
		var n int
		for _, c := range row[1] {
			n = 10*n + int(c-'0')
		}
		name := wire.Kind(n).String()
		if i >= 5 {
			name = wire.Handle(n).String()
		}
		if name != row[2] {
			t.Errorf("%d is %s here, %s in docs/protocol/wire.md", n, name, row[2])
		}
	}
}
