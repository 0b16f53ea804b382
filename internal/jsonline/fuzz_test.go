package jsonline

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

type probe struct {
	Sized
	Text string   `json:"text,omitempty"`
	List []string `json:"list,omitempty"`
	N    int      `json:"n,omitempty"`
}

type reading struct {
	io.Reader
	io.Writer
}

// read returns what messages a stream has, until it ends or is wrong.
func read(r io.Reader) (texts []string, data [][]byte) {
	c := New(reading{r, io.Discard})
	for {
		m := &probe{}
		d, err := c.Read(m, nil)
		if err != nil {
			return texts, data
		}
		texts = append(texts, m.Text)
		data = append(data, bytes.Clone(d))
	}
}

// FuzzRead checks that messages are the same however a stream is cut into reads, and come back as
// they were written.
func FuzzRead(f *testing.F) {
	f.Add([]byte("{\"text\":\"a\",\"size\":2}\nxy{\"n\":1}\n"))
	f.Add([]byte("{\"size\":-1}\n"))
	f.Add([]byte("{\"size\":1048577}\n"))
	f.Add([]byte("{\"size\":99999999999999999999}\n"))
	f.Add([]byte("[[[[[[\n" + strings.Repeat("[", 100)))
	f.Fuzz(func(t *testing.T, b []byte) {
		texts, data := read(bytes.NewReader(b))
		again, pieces := read(iotest.OneByteReader(bytes.NewReader(b)))
		if len(texts) != len(again) || strings.Join(texts, "\x00") != strings.Join(again, "\x00") {
			t.Fatalf("at once %q, by bytes %q", texts, again)
		}
		var out bytes.Buffer
		c := New(reading{strings.NewReader(""), &out})
		for i, text := range texts {
			if !bytes.Equal(data[i], pieces[i]) {
				t.Fatalf("data at once %q, by bytes %q", data[i], pieces[i])
			}
			if err := c.Write(&probe{Text: text}, data[i]); err != nil {
				t.Fatal(err)
			}
		}
		if back, _ := read(&out); strings.Join(back, "\x00") != strings.Join(texts, "\x00") {
			t.Fatalf("%q came back as %q", texts, back)
		}
	})
}
