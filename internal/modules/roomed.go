package modules

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/mitogen-go/mitogen/internal/confine"
)

// roomed is a directory whose files are opened by a thread that the kernel lets open nothing else.
// What names lead to is for the directory to check; the thread holds also where a check has failed.
// What links right in the directory lead to is opened by another thread.
type roomed struct {
	*directory
	room *confine.Room // static

	mu     sync.Mutex // protects following
	linked *confine.Room
	links  []string // whose ends linked can open
	ended  bool
}

func newRoomed(d *directory) (*roomed, error) {
	room, err := confine.NewRoom(d.dir)
	if err != nil {
		return nil, err
	}
	return &roomed{directory: d, room: room}, nil
}

func (r *roomed) Open(name string) (fs.File, error) {
	f, err := r.openIn(r.room, name)
	if err == nil || absent(err) || r.own { // no link of the user's own leads out
		return f, err
	}
	first, _, _ := strings.Cut(name, "/")
	if st, failed := os.Lstat(r.Place(first)); failed != nil || st.Mode()&fs.ModeSymlink == 0 {
		return nil, err
	}
	for {
		room, failed := r.roomOf(first)
		if failed != nil {
			return nil, err
		}
		f, err := r.openIn(room, name)
		if !errors.Is(err, confine.ErrClosed) { // else another link got its own meanwhile
			return f, err
		}
	}
}

func (r *roomed) openIn(room *confine.Room, name string) (f fs.File, err error) {
	if failed := room.Do(func() { f, err = r.directory.Open(name) }); failed != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: failed}
	}
	return f, err
}

// roomOf returns the Room for what links lead to, with one for the link called first.
func (r *roomed) roomOf(first string) (*confine.Room, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return nil, confine.ErrClosed
	}
	if slices.Contains(r.links, first) {
		return r.linked, nil
	}
	var places []string
	for _, link := range append(r.links, first) {
		if _, err := os.Stat(r.Place(link)); err == nil {
			places = append(places, r.Place(link))
		}
	}
	room, err := confine.NewRoom(append(places, r.dir)...)
	if err != nil {
		return nil, err
	}
	if r.linked != nil {
		r.linked.Close()
	}
	r.linked, r.links = room, append(r.links, first)
	return room, nil
}

func (r *roomed) Close() error {
	r.room.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	if r.linked != nil {
		r.linked.Close()
	}
	return r.directory.Close()
}
