package wire

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	_ "github.com/mitogen-go/mitogen/internal/testenv"
)

func TestBundlePayloadsComeBackAsTheyWere(t *testing.T) {
	id := BundleID{1, 2, 15: 16}
	p := Piece{ID: id, Total: 10, Offset: 7, Data: []byte("abc")}
	if got, err := ParsePiece(p.Append(nil)); err != nil || !reflect.DeepEqual(got, p) {
		t.Errorf("piece: %v %v", got, err)
	}
	if got, ctx, err := ParseForward(AppendForward(nil, id, 9)); got != id || ctx != 9 || err != nil {
		t.Errorf("forward: %v %d %v", got, ctx, err)
	}
	for _, ids := range [][]BundleID{nil, {id}, {id, {}}} {
		if n, got, err := ParseComing(AppendComing(nil, 3, ids)); n != 3 ||
			!reflect.DeepEqual(got, ids) || err != nil {
			t.Errorf("coming: %d %v %v", n, got, err)
		}
	}
	for _, names := range [][]string{nil, {"a"}, {"a.b", "c"}} {
		if got, err := ParseNames(AppendNames(nil, names)); !reflect.DeepEqual(got, names) || err != nil {
			t.Errorf("names: %v %v", got, err)
		}
	}
}

func TestBundlePayloadsThatAreWrong(t *testing.T) {
	long := (&Piece{Total: 2, Data: []byte("abc")}).Append(nil)
	far := (&Piece{Total: 1<<32 - 1, Offset: 1<<32 - 1, Data: []byte("a")}).Append(nil)
	for _, b := range [][]byte{nil, make([]byte, bundleHeader), long, far} {
		if p, err := ParsePiece(b); err == nil {
			t.Errorf("piece %q was taken: %v", b, p)
		}
	}
	for _, n := range []int{0, 19, 21} {
		if _, _, err := ParseForward(make([]byte, n)); err == nil {
			t.Errorf("forward of %d bytes was taken", n)
		}
	}
	for _, n := range []int{0, 3, 5, 21} {
		if _, _, err := ParseComing(make([]byte, n)); err == nil {
			t.Errorf("coming of %d bytes was taken", n)
		}
	}
	if _, err := ParseNames(bytes.Repeat([]byte{0}, maxNames)); err == nil {
		t.Error("too many names were taken")
	}
	if names, err := ParseNames([]byte(strings.Repeat("\x00", maxNames-1))); err != nil ||
		len(names) != maxNames {
		t.Errorf("%d names: %v", len(names), err)
	}
}
