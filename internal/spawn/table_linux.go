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

// processes returns the process table. It is read as it is asked for.
func processes() table { return lookProcess }

func lookProcess(pid int) (*program, error) {
	q, err := readProcess(pid)
	if err == nil {
		return q, nil
	}
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return nil, nil
	}
	if again, err := readProcess(pid); err == nil { // it may have begun meanwhile
		return again, nil
	}
	return nil, fmt.Errorf("look at process %d: %w", pid, err)
}

func readProcess(pid int) (*program, error) {
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
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return nil, err
	}
	euid, caught, err := parseStatus(string(status))
	if err != nil {
		return nil, err
	}
	q.reading = caught&readerSignals == readerSignals
	if us := os.Geteuid(); us != 0 {
		q.own, q.root = euid == us, euid == 0
	} else if euid == 0 {
		q.root = setuid(dir + "/exe")
		q.own = !q.root
	}
	q.children = below
	return q, nil
}

// readerSignals are caught by what asks for passwords on a terminal (as readpassphrase does).
const readerSignals = 1<<(syscall.SIGTTIN-1) | 1<<(syscall.SIGTTOU-1)

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

// parseStatus reads the effective user and the caught signals.
func parseStatus(status string) (euid int, caught uint64, err error) {
	euid = -1
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(line, ":")
		words := strings.Fields(value)
		switch {
		case name == "Uid" && len(words) == 4:
			euid, err = strconv.Atoi(words[1])
		case name == "SigCgt" && len(words) == 1:
			caught, err = strconv.ParseUint(words[0], 16, 64)
		}
		if err != nil {
			return 0, 0, err
		}
	}
	if euid < 0 {
		return 0, 0, errProc
	}
	return euid, caught, nil
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
