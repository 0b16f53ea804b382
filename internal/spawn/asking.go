package spawn

import (
	"slices"
	"time"
)

// An asking says how far a program has got that may ask for a password. What is typed on its
// terminal is read by the program while it asks, and by the account that it enters afterwards.
type asking int

const (
	quiet   asking = iota // no program that could ask has started yet
	begun                 // the entered account runs, or the program has ended
	perhaps               // it asks, or what it has started has ended: if this lasts, it asks
	asks                  // it has started nothing yet
	hidden                // the process table doesn't show it
)

// A program is an entry of the process table.
type program struct {
	name     string // of its file, at most 15 bytes on Linux
	own      bool   // it runs with our rights
	root     bool   // it has got root's rights from a setuid file that we have started
	ended    bool
	children []int
	waited   bool // processes that it had started have ended, or the table can't tell
	reading  bool // it treats signals as readers of passwords do, and nothing else does
	passing  bool // it catches SIGTERM, as what passes that on to its command does
}

// An identity tells whose process it is: users and groups.
type identity struct {
	RUID, EUID, RGID int
	Groups           string // supplementary ones, as /proc has them; "" where ps is asked
}

// rights tells of a process, from us, whether it runs with our rights, and whether it is root by a
// setuid file that we have started. Such a program keeps our real user, or makes itself root
// wholly; then our group and supplementary groups are left. What the entered account starts has
// that account's, and is neither.
func rights(us, it identity, setuid bool) (own, root bool) {
	ours := it.RUID == us.RUID && us.RUID != 0 ||
		(it.RUID == 0 || it.RUID == us.RUID) && it.RGID == us.RGID && it.Groups == us.Groups
	root = ours && it.EUID == 0 && (us.EUID != 0 || setuid)
	return ours && !root && it.EUID == us.EUID, root
}

// A table looks up a process: nil says that there is none. An error says that it can't be seen.
type table func(pid int) (*program, error)

// maxTree bounds how many processes judge looks at.
const maxTree = 64

// judge tells how far the program has got that process pid is, or has started with our own rights.
// The program is the only one with root's rights, bears one of names, and has no children.
func judge(pid int, names []string, look table) asking {
	found := quiet
	tree := []int{pid}
	for i := 0; i < len(tree); i++ {
		q, err := look(tree[i])
		switch {
		case err != nil:
			return hidden
		case len(tree) > maxTree, q == nil && i == 0, q != nil && q.ended && i == 0:
			return begun
		case q == nil || q.ended:
		case q.own:
			tree = append(tree, q.children...)
		case !q.root || found != quiet || len(q.children) > 0 || !slices.Contains(names, q.name):
			return begun
		case q.waited && !q.reading && q.passing: // its command has ended, and it hasn't yet
			return begun
		case q.waited && !q.reading:
			found = perhaps
		default:
			found = asks
		}
	}
	return found
}

// askers names programs that ask. The program of a plan may be a script that becomes one of them.
var askers = []string{"sudo", "su", "doas", "sudo-rs", "su-rs", "busybox", "toybox"}

// nameLimit is the number of bytes of a name that the kernel keeps.
const nameLimit = 15

// cut returns names as the process table has them.
func cut(names []string) []string {
	short := make([]string, len(names))
	for i, name := range names {
		short[i] = name[:min(len(name), nameLimit)]
	}
	return short
}

// A waiter waits until a program waits for a password.
type waiter struct {
	pid   int
	names []string
	look  func() table // makes a table of what there is now
	quiet func() bool  // the terminal doesn't echo
	since time.Time    // from when the program has looked as if it asked; zero: it doesn't
	now   func() time.Time
}

// lasting bounds a doubt: a program in state perhaps asks if it stays so for that long. If its
// command has ended instead, the program itself ends a few milliseconds later.
const lasting = 500 * time.Millisecond

// state tells how far the program is: asks, hidden, or something else, which may change.
func (w *waiter) state() asking {
	s := judge(w.pid, w.names, w.look())
	if s == hidden {
		return s
	}
	if s != asks && s != perhaps || !w.quiet() {
		w.since = time.Time{}
		return begun
	}
	if w.since.IsZero() {
		w.since = w.now()
	}
	if s == perhaps && w.now().Sub(w.since) >= lasting {
		return asks
	}
	return s
}
