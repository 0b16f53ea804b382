package boot

import (
	"bytes"
	"compress/zlib"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
)

//go:generate go run ./gen

// runtime is the linked runtime: a line that lists parts, and the parts, each compressed with
// zlib.
//
//go:embed runtime.bin
var runtime []byte

// parts are those of runtime by their names: modules, and besides them the image and the table
// of names.
var parts = sync.OnceValue(func() map[string][]byte {
	line, data, _ := bytes.Cut(runtime, []byte("\n"))
	var list []struct {
		Name string
		Size int
	}
	if err := json.Unmarshal(line, &list); err != nil {
		panic(fmt.Sprintf("read embedded runtime: %v", err))
	}
	all := map[string][]byte{}
	for _, p := range list {
		all[p.Name], data = data[:p.Size:p.Size], data[p.Size:]
	}
	return all
})

// Image returns the runtime (python/core/), linked and compressed with zlib. Not to be changed.
func Image() []byte { return parts()["image"] }

// texts are those of modules that have been asked for: []byte by name.
var texts sync.Map

// Module returns the source of a module that the runtime or programs in a context import:
// `_mitogen_run`, `_mitogen_spawn` and `mitogen`, for example. Not to be changed.
func Module(name string) (source []byte, ok bool) {
	if text, ok := texts.Load(name); ok {
		return text.([]byte), true
	}
	packed, ok := parts()[name]
	if !ok || name == "image" || name == "names" {
		return nil, false
	}
	text, err := inflate(packed)
	if err != nil {
		panic(fmt.Sprintf("read embedded runtime: %v", err))
	}
	texts.Store(name, text)
	return text, true
}

// Modules returns the names of all modules, sorted.
func Modules() []string {
	var all []string
	for name := range parts() {
		if name != "image" && name != "names" {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

// Table returns the names of the runtime's.
var Table = sync.OnceValue(func() *Names {
	n := &Names{}
	text, err := inflate(parts()["names"])
	if err == nil {
		err = json.Unmarshal(text, n)
	}
	if err != nil {
		panic(fmt.Sprintf("read embedded runtime: %v", err))
	}
	return n
})

// Readable returns text with the places in the runtime that a traceback in it names as they are in
// python/: file, line and function.
func Readable(text string) string {
	if !strings.Contains(text, `File "<mito`) && !strings.Contains(text, `File "<_mito`) {
		return text
	}
	return Table().Readable(text)
}

// Source returns the image's text. Not to be changed.
func Source() []byte {
	text, err := source()
	if err != nil {
		panic(fmt.Sprintf("read embedded runtime: %v", err))
	}
	return text
}

// source is the image's text.
var source = sync.OnceValues(func() ([]byte, error) { return inflate(Image()) })

func inflate(packed []byte) ([]byte, error) {
	r, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}
