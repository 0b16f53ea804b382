package closure

import (
	"slices"
	"strings"
)

// finish makes the groups. Nodes and edges are taken in the order of their names, so that the same
// graph gives the same groups in the same order, whatever it was reached from.
func (b *builder) finish() {
	c := b.c
	byName := func(i, j int) int { return strings.Compare(c.name(i), c.name(j)) }
	order := make([]int, len(c.nodes))
	for i := range c.nodes {
		order[i] = i
		slices.SortFunc(c.nodes[i].deps, byName)
	}
	slices.SortFunc(order, byName)
	t := tarjan{c: c, number: make([]int, len(c.nodes)), low: make([]int, len(c.nodes)),
		on: make([]bool, len(c.nodes))}
	for _, i := range append(order[1:], 0) { // the importer comes last
		if t.number[i] == 0 {
			t.visit(i)
		}
	}
}

func (c *Closure) name(i int) string {
	if c.nodes[i].m == nil {
		return ""
	}
	return c.nodes[i].m.Name
}

// tarjan finds strongly connected components, each after those that it leads to.
type tarjan struct {
	c           *Closure
	count       int
	number, low []int // from 1
	on          []bool
	stack       []int
}

func (t *tarjan) visit(i int) {
	t.count++
	t.number[i], t.low[i] = t.count, t.count
	t.stack = append(t.stack, i)
	t.on[i] = true
	for _, j := range t.c.nodes[i].deps {
		if t.number[j] == 0 {
			t.visit(j)
			t.low[i] = min(t.low[i], t.low[j])
		} else if t.on[j] {
			t.low[i] = min(t.low[i], t.number[j])
		}
	}
	if t.low[i] < t.number[i] {
		return
	}
	at := slices.Index(t.stack, i)
	members := slices.Clone(t.stack[at:])
	t.stack = t.stack[:at]
	for _, j := range members {
		t.on[j] = false
	}
	t.c.groups = append(t.c.groups, members)
}
