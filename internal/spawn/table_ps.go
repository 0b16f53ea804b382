package spawn

import (
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
)

// psColumns has lists of what ps may be asked for, in order of preference: not every ps knows real
// users and groups. The last two of each are no numbers.
var psColumns = [][]string{
	{"pid", "ppid", "uid", "ruid", "rgid", "state", "comm"},
	{"pid", "ppid", "uid", "state", "comm"},
}

// listed returns the process table as an account sees it by ps, which run executes.
func listed(us identity, run func(columns []string) ([]byte, error)) table {
	var err error
	for _, columns := range psColumns {
		var out []byte
		if out, err = run(columns); err == nil {
			return parsePS(string(out), columns, us)
		}
	}
	return func(int) (*program, error) { return nil, err }
}

// runPS has ps print columns of all processes. Some print what they know of them, and fail.
func runPS(columns []string) ([]byte, error) {
	argv := []string{"-A"}
	for _, c := range columns {
		argv = append(argv, "-o", c+"=")
	}
	return exec.Command("ps", argv...).Output()
}

// parsePS reads what ps prints. It can't tell whose file a process of root's executes, so that no
// process counts as a program that asks where we are root, nor which supplementary groups there
// are: a process has ours, and what else there is no column for.
func parsePS(text string, columns []string, us identity) table {
	all := map[int]*program{}
	below := map[int][]int{}
	numbers := len(columns) - 2
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < len(columns) {
			continue
		}
		number := func(column string, missing int) int {
			if i := slices.Index(columns, column); i >= 0 {
				missing, _ = strconv.Atoi(words[i])
			}
			return missing
		}
		it := us
		it.RUID, it.EUID, it.RGID = number("ruid", us.RUID), number("uid", -1), number("rgid", us.RGID)
		pid, parent := number("pid", 0), number("ppid", 0)
		below[parent] = append(below[parent], pid)
		q := &program{name: path.Base(strings.Join(words[numbers+1:], " ")),
			ended: strings.HasPrefix(words[numbers], "Z"), waited: true}
		q.own, q.root = rights(us, it, false)
		all[pid] = q
	}
	for pid, q := range all {
		q.children = below[pid]
	}
	return func(pid int) (*program, error) { return all[pid], nil }
}
