package forward

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/mitogen-go/mitogen/internal/ownfile"
)

// Bounds of the file that keeps what was learned.
const (
	maxLoreFile = 8 << 20 // bytes
	loreVersion = 1
)

// kept is the content of the file.
type kept struct {
	Version  int           `json:"version"`
	Programs []keptProgram `json:"programs"` // the program that learned last comes last
}

type keptProgram struct {
	Program string   `json:"program"`
	Names   []string `json:"names"`
}

// Remember has what programs had to ask for kept in a file between engines: what an earlier one has
// learned goes to contexts as if this one had. The file is read when it is first needed.
func (f *Forwarder) Remember(file string) {
	f.lore.mu.Lock()
	defer f.lore.mu.Unlock()
	f.lore.file, f.lore.read = file, false
}

// Save writes what was learned since the last Save, if anything was and Remember has named a file.
func (f *Forwarder) Save() error {
	l := &f.lore
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == "" || len(l.fresh) == 0 {
		return nil
	}
	if err := l.write(); err != nil {
		return fmt.Errorf("keep what was learned: %w", err)
	}
	l.fresh = nil
	return nil
}

// write merges what is fresh into the file, while no other engine does. The lock is held.
func (l *lore) write() error {
	if err := os.MkdirAll(filepath.Dir(l.file), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	lock, err := ownfile.Append(l.file+".lock", 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := await(lock); err != nil {
		return err
	}
	data, err := json.Marshal(kept{loreVersion, l.merged()})
	if err != nil {
		return err
	}
	return replace(l.file, data)
}

// lockPatience limits the time that an ending engine waits for other engines that write the same
// file.
const lockPatience = time.Second

var errHeld = errors.New("another process writes")

// await takes the lock on a file, which its Close gives back.
func await(f *os.File) error {
	for end := time.Now().Add(lockPatience); ; time.Sleep(2 * time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("lock %s: %w for %v", f.Name(), errHeld, lockPatience)
		}
	}
}

// load reads the file, once. A file that can't be used is as good as none. The lock is held.
func (l *lore) load() {
	if l.read || l.file == "" {
		return
	}
	l.read = true
	for _, p := range readKept(l.file) {
		for _, name := range p.Names {
			add(&l.old, p.Program, name)
		}
	}
}

// merged returns the programs in the file, which another engine may have written meanwhile, and
// those with fresh names behind them. The lock is held.
func (l *lore) merged() (all []keptProgram) {
	fresh := maps.Clone(l.fresh)
	for _, p := range readKept(l.file) {
		if fresh[p.Program] == nil {
			all = append(all, p)
			continue
		}
		for _, name := range p.Names {
			add(&fresh, p.Program, name)
		}
	}
	for _, program := range slices.Sorted(maps.Keys(fresh)) {
		if utf8.ValidString(program) { // else JSON has another one
			all = append(all, keptProgram{program, fresh[program]})
		}
	}
	return all[max(0, len(all)-maxPrograms):]
}

// readKept returns what is usable of a file of this user's.
func readKept(file string) []keptProgram {
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || !ownRegular(&st) {
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(f, maxLoreFile+1))
	var all kept
	if err != nil || len(data) > maxLoreFile || json.Unmarshal(data, &all) != nil ||
		all.Version != loreVersion {
		return nil
	}
	for i := range all.Programs {
		p := &all.Programs[i]
		p.Names = slices.DeleteFunc(p.Names, func(name string) bool { return !learnable(name) })
	}
	return all.Programs[max(0, len(all.Programs)-maxPrograms):]
}

func ownRegular(st *unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFREG && int(st.Uid) == os.Geteuid()
}

// replace writes a file in the place of another one of this user's, at once: not of a device, a
// link or the like.
func replace(file string, data []byte) (err error) {
	var st unix.Stat_t
	if unix.Lstat(file, &st) == nil && !ownRegular(&st) {
		return fmt.Errorf("%s is no regular file of this user's", file)
	}
	draft, err := os.CreateTemp(filepath.Dir(file), ".learned-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(draft.Name())
		}
	}()
	_, err = draft.Write(data)
	err = errors.Join(err, draft.Close())
	if err != nil {
		return err
	}
	return os.Rename(draft.Name(), file)
}
