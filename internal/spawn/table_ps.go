package spawn

import (
	"path"
	"strconv"
	"strings"
)

// parsePS reads what ps prints of all processes: id, parent, effective user, state, name. It can't
// tell whose file a process of root's executes, so that no process counts as a program that asks
// where us is root.
func parsePS(text string, us int) table {
	all := map[int]*program{}
	below := map[int][]int{}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 5 {
			continue
		}
		var ids [3]int
		for i := range ids {
			ids[i], _ = strconv.Atoi(words[i])
		}
		below[ids[1]] = append(below[ids[1]], ids[0])
		all[ids[0]] = &program{name: path.Base(strings.Join(words[4:], " ")), own: ids[2] == us, root: ids[2] == 0 && us != 0,
			ended: strings.HasPrefix(words[3], "Z"), waited: true}
	}
	for pid, q := range all {
		q.children = below[pid]
	}
	return func(pid int) (*program, error) { return all[pid], nil }
}
