package sshconf

import (
	"sync"
	"syscall"
	"time"
)

// status tells whether a file has been written since.
type status struct {
	dev, ino, size, mtime, ctime int64
	err                          string
}

func statusOf(name string) status {
	var st syscall.Stat_t
	if err := syscall.Stat(name, &st); err != nil {
		return status{err: err.Error()}
	}
	return statusFrom(&st)
}

// cache holds by name what was read of files or directories, with the status that they had before.
type cache[T any] struct {
	// read is static. With sure false the value isn't what is there: something was lacking.
	read func(name string) (value T, sure bool)
	// here is static. It tells whether the times of a file come from a clock of this machine. Of a
	// network file system they are another machine's, and may be old: what is there is read each time,
	// as ssh does. Nil: onDisk.
	here func(name string) bool

	mu      sync.Mutex // protects following
	entries map[string]*entry[T]
}

type entry[T any] struct {
	status  status
	settled bool // another write would have shown in the status
	value   T
}

func (c *cache[T]) isHere(name string) bool {
	if c.here != nil {
		return c.here(name)
	}
	return onDisk(name)
}

// coarse is longer than what the clocks of file systems may leave out.
const coarse = 2 * time.Second

// maxCached limits the entries of a cache.
const maxCached = 10_000

// get returns the present value of name. If the status is unchanged, that costs one system call.
func (c *cache[T]) get(name string) T { return c.getAs(name, statusOf(name)) }

// getAs is get where name has that status.
func (c *cache[T]) getAs(name string, st status) T {
	c.mu.Lock()
	old := c.entries[name]
	c.mu.Unlock()
	if old != nil && old.status == st && old.settled {
		return old.value
	}
	began := time.Now()
	value, sure := c.read(name)
	settled := st.err != "" || sure && began.UnixNano()-max(st.mtime, st.ctime) > int64(coarse) &&
		c.isHere(name)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries == nil || len(c.entries) >= maxCached {
		c.entries = map[string]*entry[T]{}
	}
	c.entries[name] = &entry[T]{st, settled, value}
	return value
}
