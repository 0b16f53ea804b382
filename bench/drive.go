package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A reading is one run of a driver: what it printed last, and what was seen from outside.
type reading map[string]float64

// drive runs one workload of a side's driver. At each mark, see is called with the driver's pid and
// the mark's name.
func (b *bench) drive(driver []string, workload string, params any,
	see func(pid int, mark string, r reading)) (reading, error) {
	p, err := json.Marshal(params)
	if err != nil {
		return nil, err
	}
	cmd := b.command(append(slices.Clone(driver), workload, string(p))...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r := reading{}
	err = listen(stdout, stdin, r, func(mark string) {
		if see != nil {
			see(cmd.Process.Pid, mark, r)
		}
	})
	if e := cmd.Wait(); e != nil || err != nil {
		return nil, fmt.Errorf("%s: %v %v\n%s", driver[len(driver)-1], err, e, stderr.Bytes())
	}
	r["process_s"] = time.Since(start).Seconds()
	// of what it has waited for, too
	r["cpu_s"] = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	return r, nil
}

func listen(stdout io.Reader, stdin io.Writer, r reading, marked func(name string)) error {
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		var line map[string]any
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return err
		}
		if name, ok := line["mark"].(string); ok {
			marked(name)
			if _, err := io.WriteString(stdin, "\n"); err != nil {
				return err
			}
			continue
		}
		for k, v := range line {
			if f, ok := v.(float64); ok {
				r[k] = f
			}
		}
	}
	return lines.Err()
}

// descendants of pid, from /proc.
func descendants(pid int) []int {
	children := map[int][]int{}
	stats, _ := fs.Glob(os.DirFS("/proc"), "[0-9]*/stat")
	for _, name := range stats {
		b, err := os.ReadFile("/proc/" + name)
		if err != nil {
			continue
		}
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		child, _ := strconv.Atoi(strings.TrimSuffix(name, "/stat"))
		parent, _ := strconv.Atoi(f[1])
		children[parent] = append(children[parent], child)
	}
	all := slices.Clone(children[pid])
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// pss is a process's share of memory in MiB.
func pss(pid int) float64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); f[0] == "Pss:" {
			kib, _ := strconv.ParseFloat(f[1], 64)
			return kib / 1024
		}
	}
	return 0
}
