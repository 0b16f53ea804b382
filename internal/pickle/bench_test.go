package pickle

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/mitogen-go/mitogen/pyvalue"
)

var payloads = []struct {
	name string
	v    any
}{
	{"int", int64(4242)},
	{"call", pyvalue.Tuple{pyvalue.Tuple{"/etc/hosts", int64(5), true}, pyvalue.NewDict("mode", "rb",
		"timeout", 2.5)}},
	{"facts", factsList()},
	{"bytes1M", bytes.Repeat([]byte("\xffabc"), 1<<18)},
	{"text1M", string(bytes.Repeat([]byte("abcé"), 1<<18))},
}

// factsList is 60 KiB of dicts as a survey of a machine returns.
func factsList() *pyvalue.List {
	l := pyvalue.NewList()
	for i := range 400 {
		l.Items = append(l.Items, pyvalue.NewDict("name", fmt.Sprintf("package-%d", i), "version",
			"1.2.3-4",
			"size", int64(i*1000),
			"essential", i%7 == 0, "depends", pyvalue.NewList("libc6", "zlib1g"), "load", float64(i)/3,
			"origin",
			nil))
	}
	return l
}

func BenchmarkDecode(b *testing.B) {
	for _, p := range payloads {
		for _, mode := range []Mode{Proto2Both, Proto4} {
			data, err := Append(nil, p.v, mode)
			if err != nil {
				b.Fatal(err)
			}
			b.Run(fmt.Sprintf("%s/proto%d", p.name, protocols[mode]), func(b *testing.B) {
				b.SetBytes(int64(len(data)))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := Decode(data, Limits{}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkUnmarshal(b *testing.B) {
	type row struct {
		Name, Version string
		Size          int
		Essential     bool
		Depends       []string
		Load          float64
		Origin        *string
	}
	data, err := Append(nil, factsList(), Proto4)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		var rows []row
		if err := Unmarshal(data, Limits{}, &rows); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, p := range payloads {
		for _, mode := range []Mode{Proto2Both, Proto4} {
			b.Run(fmt.Sprintf("%s/proto%d", p.name, protocols[mode]), func(b *testing.B) {
				var buf []byte
				b.ReportAllocs()
				for b.Loop() {
					buf, _ = Append(buf[:0], p.v, mode)
				}
				b.SetBytes(int64(len(buf)))
			})
		}
	}
}

func BenchmarkAppendCall(b *testing.B) {
	args := []any{"/etc/hosts", int64(5), true}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = AppendCall(buf[:0], args, nil, Proto4)
	}
}
