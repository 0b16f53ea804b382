package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
)

// tiers is 1 -> 4 -> 40 -> N local contexts, each started by the one before it. The last tier
// answers a call, then another one.
func tiers(ctx context.Context, e *mitogen.Engine, p params) (result, error) {
	t0 := time.Now()
	level := []*mitogen.Context{nil}
	for _, n := range []int{4, 40, p.N} {
		next := make([]*mitogen.Context, n)
		for i := range next {
			o := mitogen.ConnectOptions{Via: level[i%len(level)], Options: connect.Options{Python: []string{
				p.Target.Python},
				Timeout: 5 * time.Minute}}
			var err error
			if next[i], err = e.Start(p.Where, o); err != nil {
				return nil, err
			}
		}
		level = next
	}
	for _, r := range mitogen.Each[int](ctx, level, "os:getpid") {
		if r.Err != nil {
			return nil, r.Err
		}
	}
	connected := seconds(t0)
	if n := len(e.Contexts()); n != p.N+44 {
		return nil, fmt.Errorf("%d contexts", n)
	}
	mark("connected")
	best := 0.0
	for range 5 {
		t1 := time.Now()
		for _, r := range mitogen.Each[int](ctx, level, "os:getpid") {
			if r.Err != nil {
				return nil, r.Err
			}
		}
		if s := seconds(t1); best == 0 || s < best {
			best = s
		}
	}
	return result{"s": connected, "broadcast_call_s": best, "rss_mib": rss()}, nil
}

// rss is this process's resident memory at its most, in MiB.
func rss() float64 {
	b, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmHWM:" {
			kib, _ := strconv.ParseFloat(f[1], 64)
			return kib / 1024
		}
	}
	return 0
}
