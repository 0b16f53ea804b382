package forward

import (
	"strings"
	"testing"
	"testing/fstest"
)

// A distribution goes whole, or not at all: its halves may be of several versions.
func TestWhole(t *testing.T) {
	lib := fstest.MapFS{}
	for name, text := range map[string]string{"d/__init__.py": "import part", "part.py": "",
		"d-1.dist-info/RECORD": "d/__init__.py,,\npart.py,,\n",
		"other.py":             "", "other-1.dist-info/RECORD": "other.py,,\n"} {
		lib[name] = &fstest.MapFile{Data: []byte(text)}
	}
	for _, tt := range []struct {
		what, lacks string
		want        []string
	}{
		{"half of it", "d", []string{"send 1 part=bundle", "send 1 d=bundle"}},
		{"the other half", "part", []string{"send 1 part=bundle", "send 1 d=bundle"}},
		{"another one", "other", []string{"send 1 other=bundle"}},
		{"nothing", "", nil},
		{"what wasn't asked", "nowhere", nil},
	} {
		f, s := forwarder(tree("app.py: import d, other"), lib)
		f.Add(1, 0)
		call(f, 1, "app")
		s.lines = nil
		answer(f, 1, "", strings.Fields(tt.lacks)...)
		var sent []string
		for _, line := range s.lines {
			if strings.HasPrefix(line, "send") {
				sent = append(sent, line)
			}
		}
		if got, want := strings.Join(sent, ", "), strings.Join(tt.want, ", "); got != want {
			t.Errorf("it lacks %s: got %q, want %q", tt.what, got, want)
		}
	}
}

// What a later question asks is held against what was lacking before.
func TestWholeLater(t *testing.T) {
	lib := fstest.MapFS{}
	for name, text := range map[string]string{"d/__init__.py": "", "part.py": "",
		"d-1.dist-info/RECORD": "d/__init__.py,,\npart.py,,\n"} {
		lib[name] = &fstest.MapFile{Data: []byte(text)}
	}
	f, s := forwarder(tree("app.py: import d", "more.py: import part"), lib)
	f.Add(1, 0)
	call(f, 1, "app")
	answer(f, 1, "", "d")
	call(f, 1, "more")
	s.lines = nil
	answer(f, 1, "")
	s.expect(t, "the rest of it", "coming 1 1/1", "send 1 part=bundle")
}
