package boot

import (
	"bytes"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// goConfig is the configuration of the example in docs/protocol/golang.md.
var goConfig = Config{ID: 1, Parents: []uint32{0}, Name: "go", MaxMessage: 128 << 20,
	Heartbeat: 30, BusyTimeout: 300, LogLevel: 20}

func TestGoHead(t *testing.T) {
	head := GoHead(goConfig)
	page, err := os.ReadFile("../../docs/protocol/golang.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(page, append([]byte("\n    "), head...)) {
		t.Errorf("docs/protocol/golang.md: no head %s", head)
	}
	got, err := wire.ParseGoHead(head)
	if err != nil || !reflect.DeepEqual(got, wire.GoHead(goConfig)) {
		t.Errorf("parsed head: got %+v, %v, want %+v", got, err, goConfig)
	}
	long := goConfig
	long.Name = strings.Repeat("\u00e9", 1000) + "\n"
	for range 500 {
		long.Parents = append([]uint32{1<<32 - 1}, long.Parents...)
	}
	if n := len(GoHead(long)); n > wire.MaxGoHead {
		t.Errorf("head with 501 parents: got %d bytes, want at most %d", n, wire.MaxGoHead)
	}
}

func TestGoHeadRefused(t *testing.T) {
	good := string(GoHead(goConfig))
	for what, head := range map[string]string{
		"empty": "\n", "no object": "[]\n", "of Python": "n=7;C=(5,(0,))\n",
		"version":      strings.Replace(good, `"version":1`, `"version":2`, 1),
		"no version":   strings.Replace(good, `"version":1,`, ``, 1),
		"own id":       strings.Replace(good, `"id":1`, `"id":0`, 1),
		"no parents":   strings.Replace(good, `[0]`, `[]`, 1),
		"no engine":    strings.Replace(good, `[0]`, `[3]`, 1),
		"no limit":     strings.Replace(good, `134217728`, `0`, 1),
		"silence":      strings.Replace(good, `:30,`, `:-30,`, 1),
		"id too large": strings.Replace(good, `"id":1`, `"id":4294967296`, 1),
		"negative":     strings.Replace(good, `"id":1`, `"id":-1`, 1),
		"parent":       strings.Replace(good, `[0]`, `[-1,0]`, 1),
		"two commas":   strings.Replace(good, `[0]`, `[1,,0]`, 1),
		"no comma":     strings.Replace(good, `[0]`, `[1 0]`, 1),
		"behind":       good[:len(good)-1] + "x\n",
		"cut off":      good[:len(good)-2] + "\n",
		"another word": strings.Replace(good, `"name"`, `"nom"`, 1),
	} {
		if _, err := wire.ParseGoHead([]byte(head)); err == nil {
			t.Errorf("head %s: got no error, want one: %s", what, head)
		}
	}
}

// TestGoHeadOfOtherVersion: a head of another version is told as that, whatever fields it has.
func TestGoHeadOfOtherVersion(t *testing.T) {
	for _, head := range []string{`{"version":2,"id":1,"colour":[{}]}`, `{"version":0}`} {
		if _, err := wire.ParseGoHead([]byte(head + "\n")); !errors.Is(err, wire.ErrVersion) {
			t.Errorf("head %s: got %v, want %v", head, err, wire.ErrVersion)
		}
	}
}

// TestGoHeadNames: a name comes through whatever characters it has, in at most 64 of them.
func TestGoHeadNames(t *testing.T) {
	for _, name := range []string{"", `a"b\`, "\x00\n\u2028<&>", "\U0001f600é", "\x7f"} {
		c := goConfig
		c.Name = name
		got, err := wire.ParseGoHead(GoHead(c))
		if err != nil || got.Name != name {
			t.Errorf("head with name %q: got %q, %v", name, got.Name, err)
		}
	}
}
