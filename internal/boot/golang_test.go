package boot

import (
	"bytes"
	"os"
	"reflect"
	"strings"
	"testing"
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
	if got, err := ParseGoHead(head); err != nil || !reflect.DeepEqual(got, goConfig) {
		t.Errorf("parsed head: got %+v, %v, want %+v", got, err, goConfig)
	}
	long := goConfig
	long.Name = strings.Repeat("\u00e9", 1000) + "\n"
	for range 500 {
		long.Parents = append([]uint32{1<<32 - 1}, long.Parents...)
	}
	if n := len(GoHead(long)); n > MaxGoHead {
		t.Errorf("head with 501 parents: got %d bytes, want at most %d", n, MaxGoHead)
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
		"another word": strings.Replace(good, `"name"`, `"nom"`, 1),
	} {
		if _, err := ParseGoHead([]byte(head)); err == nil {
			t.Errorf("head %s: got no error, want one: %s", what, head)
		}
	}
}
