package spawn

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// processes returns the process table, as an account sees it. It is read as it is asked for.
func processes(us identity) table {
	return func(pid int) (*program, error) { return lookProcess(pid, us) }
}

// ourselves is our account, in the form of the process table.
func ourselves() (identity, error) {
	s, err := readStatus("/proc/self")
	return s.identity, err
}

func lookProcess(pid int, us identity) (*program, error) {
	q, err := readProcess(pid, us)
	if err == nil {
		return q, nil
	}
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return nil, nil
	}
	if again, err := readProcess(pid, us); err == nil { // it may have begun meanwhile
		return again, nil
	}
	return nil, fmt.Errorf("look at process %d: %w", pid, err)
}

func readProcess(pid int, us identity) (*program, error) {
	dir := "/proc/" + strconv.Itoa(pid)
	below, err := children(pid) // before stat: a child that ends in between is counted there
	if err != nil {
		return nil, err
	}
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return nil, err
	}
	q, err := parseStat(stat)
	if err != nil {
		return nil, err
	}
	s, err := readStatus(dir)
	if err != nil {
		return nil, err
	}
	q.children, q.reading, q.passing = below, s.reading, s.passing
	q.own, q.root = rights(us, s.identity, us.EUID == 0 && setuid(dir+"/exe"))
	return q, nil
}

// A status tells whose process it is, and what its signals say of it.
type status struct {
	identity
	reading, passing bool
}

func readStatus(dir string) (status, error) {
	text, err := os.ReadFile(dir + "/status")
	if err != nil {
		return status{}, err
	}
	return parseStatus(string(text))
}

// Readers of passwords on a terminal are known by their signals. readpassphrase, sudo and sudo-rs
// catch SIGTTIN and SIGTTOU; libpam_misc, which su uses, blocks SIGTSTP alone. While sudo, su and
// doas wait for their command, and end its session, they don't, and catch SIGTERM.
const (
	caughtByReaders  = 1<<(syscall.SIGTTIN-1) | 1<<(syscall.SIGTTOU-1)
	blockedByReaders = 1 << (syscall.SIGTSTP - 1)
	caughtByPassers  = 1 << (syscall.SIGTERM - 1)
)

var errProc = errors.New("unknown form of /proc")

// parseStat reads name, state and whether there have been children: their page faults count here
// when they have been waited for.
func parseStat(stat []byte) (*program, error) {
	begin, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if begin < 0 || end < begin {
		return nil, errProc
	}
	rest := strings.Fields(string(stat[end+1:]))
	if len(rest) < 9 {
		return nil, errProc
	}
	name, ended := string(stat[begin+1:end]), rest[0] == "Z" || rest[0] == "X"
	return &program{name: name, ended: ended, waited: rest[8] != "0"}, nil
}

// parseStatus reads a process's status, as the kernel writes it.
func parseStatus(text string) (status, error) {
	lines := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, ":")
		lines[name] = strings.Join(strings.Fields(value), " ")
	}
	var s status
	s.Groups = lines["Groups"]
	_, err := fmt.Sscan(lines["Uid"], &s.RUID, &s.EUID)
	if err == nil {
		_, err = fmt.Sscan(lines["Gid"], &s.RGID)
	}
	if err != nil {
		return status{}, fmt.Errorf("%w: %w", errProc, err)
	}
	caught, blocked := signalSet(lines["SigCgt"]), signalSet(lines["SigBlk"])
	s.reading = caught&caughtByReaders == caughtByReaders || blocked == blockedByReaders
	s.passing = caught&caughtByPassers != 0
	return s, nil
}

// signalSet reads a set of signals; without one it is empty.
func signalSet(hex string) uint64 {
	set, err := strconv.ParseUint(hex, 16, 64)
	if err != nil {
		return 0
	}
	return set
}

// setuid tells whether a file gives its user's rights, and that is root.
func setuid(path string) bool {
	st, err := os.Stat(path)
	if err != nil || st.Mode()&fs.ModeSetuid == 0 {
		return false
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && sys.Uid == 0
}

// children returns the process ids of the children of pid.
func children(pid int) ([]int, error) {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return nil, err
	}
	var all []int
	for _, task := range tasks {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, task.Name()))
		if errors.Is(err, fs.ErrNotExist) { // the kernel has been built without
			return searchChildren(pid)
		}
		if err != nil && !errors.Is(err, syscall.ESRCH) { // the thread has ended
			return nil, err
		}
		for _, word := range strings.Fields(string(b)) {
			if child, err := strconv.Atoi(word); err == nil {
				all = append(all, child)
			}
		}
	}
	return all, nil
}

// searchChildren looks at all processes.
func searchChildren(pid int) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var all []int
	for _, e := range entries {
		id, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) { // it has ended
			continue
		}
		if err != nil {
			return nil, err
		}
		rest := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(rest) > 1 && string(rest[1]) == strconv.Itoa(pid) {
			all = append(all, id)
		}
	}
	return all, nil
}
