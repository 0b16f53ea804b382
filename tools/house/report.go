package main

import (
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
)

// figure is a row of the table.
type figure struct {
	name  string // in JSON
	about string
	value int
}

// figuresOf returns the rows.
func (h *house) figuresOf() []figure {
	all := []figure{
		{"go_files", "Go files without tests", h.goFiles},
		{"go_test_files", "Go files of tests", h.testFiles},
		{"python_files", "Python files", h.pythonFiles},
		{"go_functions", "Go functions", len(h.goFunctions)},
		{"go_function_median", "… median of their lines", percentile(h.goFunctions, 50)},
		{"go_function_p90", "… 90 % have at most", percentile(h.goFunctions, 90)},
		{"python_functions", "Python functions", len(h.pythonFunctions)},
		{"python_function_median", "… median of their lines", percentile(h.pythonFunctions, 50)},
		{"python_function_p90", "… 90 % have at most", percentile(h.pythonFunctions, 90)},
	}
	for _, kind := range kindNames() {
		n, _ := h.total(kind)
		all = append(all, figure{kind, kinds[kind].about, n})
	}
	return all
}

// total returns the number of findings of a kind, or the size of the largest with that finding.
func (h *house) total(kind string) (n int, largest finding) {
	for _, f := range h.findings {
		switch {
		case f.kind != kind:
		case !kinds[kind].most:
			n++
		case f.size > n:
			n, largest = f.size, f
		}
	}
	return n, largest
}

// percentile returns the value that p of 100 don't exceed; 0 of nothing.
func percentile(sorted []int, p int) int {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[(len(sorted)-1)*p/100]
}

func (h *house) json() map[string]any {
	all := map[string]any{}
	for _, f := range h.figuresOf() {
		all[f.name] = f.value
	}
	for kind, k := range kinds {
		if _, f := h.total(kind); k.most {
			all[kind+"_where"] = f.String()
		}
	}
	return all
}

// table prints the figures; before may be nil.
func table(out io.Writer, now, before *house) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	head := "\tnow\n"
	if before != nil {
		head = "\tbefore\tnow\n"
	}
	fmt.Fprint(w, head)
	rows := now.figuresOf()
	for i, f := range rows {
		cells := strconv.Itoa(f.value)
		if before != nil {
			cells = fmt.Sprintf("%d\t%d", before.figuresOf()[i].value, f.value)
		}
		if _, largest := now.total(f.name); largest.text != "" {
			cells += "\t" + largest.String()
		}
		fmt.Fprintf(w, "%s\t%s\n", f.about, cells)
	}
	return w.Flush()
}
