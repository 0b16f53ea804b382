// Command gen makes what package boot embeds from the runtime's readable source in python/: one
// file, runtime.bin. Run it by `go generate ./internal/boot` or `make generate`. With -unpack,
// at the root of the repository, it writes what is sent of the runtime to a directory instead.
package main

import (
	"bytes"
	"compress/zlib"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/mitogen-go/mitogen/internal/pylink"
)

func main() {
	unpack := flag.String("unpack", "", "write image.bin and the modules' texts to `DIRECTORY`")
	flag.Parse()
	var err error
	if *unpack != "" {
		err = write("python", *unpack)
	} else {
		err = generate("../../python", "runtime.bin")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// link links the runtime, whose sources are in directory python.
func link(python string) (*pylink.Linked, error) {
	return pylink.Link(modules, rules, func(name string) ([]byte, error) {
		return os.ReadFile(filepath.Join(python, name))
	})
}

// generate writes the file that package boot embeds.
func generate(python, file string) error {
	linked, err := link(python)
	if err != nil {
		return err
	}
	packed, err := pack(linked)
	if err != nil {
		return err
	}
	return os.WriteFile(file, packed, 0o644)
}

// write writes image and texts, each to a file.
func write(python, dir string) error {
	linked, err := link(python)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, text := range linked.Texts {
		file := filepath.Join(dir, name+".py")
		if name == core {
			file, text = filepath.Join(dir, "image.bin"), squeeze(text)
		}
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// A part is one of what runtime.bin holds, compressed with zlib. Its first line lists them.
type part struct {
	Name string `json:"name"`
	Size int    `json:"size"` // compressed
}

// pack returns the contents of runtime.bin: the image, the modules and the table of names.
func pack(linked *pylink.Linked) ([]byte, error) {
	var parts []part
	var data bytes.Buffer
	add := func(name string, packed []byte) {
		parts = append(parts, part{name, len(packed)})
		data.Write(packed)
	}
	add("image", squeeze(linked.Texts[core]))
	for _, m := range modules {
		if m.Name != core {
			add(m.Name, deflate(linked.Texts[m.Name]))
		}
	}
	names, err := json.Marshal(linked.Names)
	if err != nil {
		return nil, err
	}
	add("names", deflate(names))
	list, err := json.Marshal(parts)
	return append(append(list, '\n'), data.Bytes()...), err
}

func deflate(b []byte) []byte {
	var out bytes.Buffer
	w, err := zlib.NewWriterLevel(&out, zlib.BestCompression)
	if err != nil {
		panic(err) // there is such a level
	}
	io.Copy(w, bytes.NewReader(b)) // to memory
	w.Close()
	return out.Bytes()
}
