package cli

import (
	"errors"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen"
)

// What a target says of its files takes no more memory than maxTexts.
func TestCopyTexts(t *testing.T) {
	s := &state{}
	s.opt.json = true
	h := &host{fleet: &fleet{s: s}, copied: &copied{}}
	long := strings.Repeat("\x01", 64<<10) // of which each byte is printed as four
	for range 2 * maxTexts / (4 * len(long)) {
		h.tellFailure(&mitogen.FileError{Path: long, Err: errors.New("x")})
		h.tellChange(mitogen.SyncChange{Path: long}, false)
	}
	size := 0
	for _, f := range h.copied.Failures {
		size += len(f.Path) + len(f.Message)
	}
	for _, c := range h.copied.Changes {
		size += len(c.Path)
	}
	if size > maxTexts || size < maxTexts/2 {
		t.Errorf("got texts of %d bytes, want no more than %d, and most of that", size, maxTexts)
	}
}

// A summary has the singular for one thing alone.
func TestCopySummary(t *testing.T) {
	for _, tt := range []struct {
		c    copied
		want string
	}{
		{copied{}, "0 files, 0 directories, 0 links, 0 bytes"},
		{copied{Files: 1, Dirs: 1, Links: 1, Bytes: 1}, "1 file, 1 directory, 1 link, 1 byte"},
		{copied{Files: 2, Dirs: 11, Links: 21, Bytes: 101, Failed: 1},
			"2 files, 11 directories, 21 links, 101 bytes; 1 failed"},
		{copied{Files: 1, Bytes: 1024}, "1 file, 0 directories, 0 links, 1.0 KiB"},
	} {
		if got := tt.c.summary(); got != tt.want {
			t.Errorf("%+v: got %q, want %q", tt.c, got, tt.want)
		}
	}
}
