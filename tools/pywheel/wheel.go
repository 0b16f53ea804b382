package main

import (
	"archive/zip"
	"cmp"
	"compress/flate"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// distribution is the name that pip knows the package by.
const distribution = "mitogo"

// epoch is the time of every file: the first that a zip file can have.
var epoch = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// wheel is a wheel file that is being made: https://packaging.python.org, "Binary distribution
// format".
type wheel struct {
	version string   // as PEP 440 has it
	tags    []string // names of platforms
	files   []file
}

type file struct {
	name string
	data []byte
	mode fs.FileMode
}

func (w *wheel) add(name string, data []byte, mode fs.FileMode) {
	w.files = append(w.files, file{name, data, mode})
}

// stem begins the names of the wheel and of its directories. A local version has a "+", which the
// format allows there.
func (w *wheel) stem() string { return distribution + "-" + w.version }

// info returns the name of a file that describes the wheel.
func (w *wheel) info(name string) string { return w.stem() + ".dist-info/" + name }

// name returns the wheel's own name.
func (w *wheel) name() string {
	return w.stem() + "-py3-none-" + strings.Join(w.tags, ".") + ".whl"
}

// description returns the text of WHEEL.
func (w *wheel) description() []byte {
	text := "Wheel-Version: 1.0\nGenerator: mitogen-pywheel\nRoot-Is-Purelib: false\n"
	for _, tag := range w.tags {
		text += "Tag: py3-none-" + tag + "\n"
	}
	return []byte(text)
}

// write writes the wheel. What describes it comes last, as the format asks for.
func (w *wheel) write(to io.Writer) error {
	slices.SortFunc(w.files, func(a, b file) int {
		return cmp.Or(cmp.Compare(w.rank(a.name), w.rank(b.name)), strings.Compare(a.name, b.name))
	})
	record := ""
	for _, f := range w.files {
		sum := sha256.Sum256(f.data)
		hash := base64.RawURLEncoding.EncodeToString(sum[:])
		record += fmt.Sprintf("%s,sha256=%s,%d\n", f.name, hash, len(f.data))
	}
	name := w.info("RECORD")
	z := zip.NewWriter(to)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) {
		return flate.NewWriter(w, flate.BestCompression)
	})
	for _, f := range append(w.files, file{name, []byte(record + name + ",,\n"), 0o644}) {
		h := &zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: epoch}
		h.SetMode(f.mode)
		out, err := z.CreateHeader(h)
		if err == nil {
			_, err = out.Write(f.data)
		}
		if err != nil {
			return fmt.Errorf("write %s: %w", f.name, err)
		}
	}
	return z.Close()
}

// rank returns 1 for a file that describes the wheel, and 0 for any other.
func (w *wheel) rank(name string) int {
	if strings.HasPrefix(name, w.info("")) {
		return 1
	}
	return 0
}
