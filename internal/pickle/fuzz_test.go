package pickle

import (
	"bufio"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/pyvalue"
	"github.com/mitogen-go/mitogen/secret"
)

// seeds are the golden pickles and the small hostile ones.
func seeds(f *testing.F) {
	files, _ := filepath.Glob(filepath.Join(golden, "*.txt"))
	for _, file := range files {
		r, err := os.Open(file)
		if err != nil {
			f.Fatal(err)
		}
		defer r.Close()
		for lines := bufio.NewScanner(r); lines.Scan(); {
			fields := strings.Fields(lines.Text())
			if b, err := hex.DecodeString(fields[len(fields)-1]); err == nil {
				f.Add(b)
			}
		}
	}
	for _, test := range hostile {
		if len(test.b) < 1000 {
			f.Add([]byte(test.b))
		}
	}
}

// FuzzDecode checks that what is decoded can be encoded again, and is the same then.
func FuzzDecode(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		// What is shared is sent and shown each time: keep the product small.
		if len(b) > 1<<12 {
			return
		}
		v, err := Decode(b, Limits{Nodes: 1 << 10})
		if err != nil {
			return
		}
		want := show(v)
		for _, mode := range []Mode{Proto2Both, Proto3, Proto4} {
			again, err := Append(nil, v, mode)
			if err != nil {
				var reason *pyvalue.Error
				if errors.As(err, &reason) && strings.Contains(reason.Reason, "nested") {
					continue // a mitogen.Error is nested deeper as arguments than as a value
				}
				t.Fatalf("%s doesn't go back: %v", want, err)
			}
			got, err := Decode(again, Limits{})
			if err != nil || show(got) != want {
				t.Fatalf("mode %d: %s became %s, %v", mode, want, show(got), err)
			}
		}
	})
}

// FuzzUnmarshal checks that no value makes Unmarshal panic, and that what fits comes back.
func FuzzUnmarshal(f *testing.F) {
	seeds(f)
	for _, v := range []any{pyvalue.NewDict("host", "a", "pid", 5),
		pyvalue.NewDict("cpus", pyvalue.NewList(1), "extra", pyvalue.Tuple{}),
		pyvalue.NewList(pyvalue.NewDict())} {
		b, err := Append(nil, v, Proto2Both)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		lim := Limits{Nodes: 1 << 12}
		for _, into := range []any{
			new(any), new(facts), new(map[string]any), new(map[any][]int), new([]any), new([][]byte),
			new([]string),
			new(map[[2]any]*secret.Secret), new(*pyvalue.Exception), new([]pyvalue.Ref),
			new(map[int]struct{}), new(*[3]*base),
			new([]complex64),
		} {
			Unmarshal(b, lim, into)
		}
		var list []string
		if Unmarshal(b, lim, &list) != nil || list == nil {
			return
		}
		again, err := Append(nil, list, Proto4)
		if err != nil {
			t.Fatalf("encode %q again: %v", list, err)
		}
		var got []string
		if err := Unmarshal(again, lim, &got); err != nil ||
			strings.Join(got, "\x00") != strings.Join(list, "\x00") {
			t.Fatalf("%q became %q, %v", list, got, err)
		}
	})
}
