package testpython

import (
	"hash/fnv"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"
)

// Seed returns the number that decides what tests draw: $MITOGEN_SEED, else the day since 1970. So
// a failure of today comes again today, and all is tried in the course of some days.
func Seed() uint64 {
	if n, err := strconv.ParseUint(os.Getenv("MITOGEN_SEED"), 10, 64); err == nil {
		return n
	}
	return uint64(time.Now().Unix() / 86400)
}

// Draw returns a source of random numbers for what has this name, usually a test's. Different names
// have different numbers, so that a run as a whole tries much, and each test little.
func Draw(name string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(name))
	return rand.New(rand.NewPCG(Seed(), h.Sum64()))
}

// All reports whether tests take everything instead of a sample: with $MITOGEN_SOAK, as `make soak`
// sets it, or where $MITOGEN_TEST_PYTHONS names interpreters, which are there to be tried.
func All() bool {
	return os.Getenv("MITOGEN_SOAK") != "" || os.Getenv("MITOGEN_TEST_PYTHONS") != ""
}

// Sample returns two interpreters for a test whose name this is: the oldest or the newest, and a
// different one, both chosen by Draw; or all of them, if All. The older one comes first, as in
// Find.
func Sample(name string) []Interp { return sample(Find(), name) }

func sample(found []Interp, name string) []Interp {
	if All() || len(found) <= 2 {
		return found
	}
	r := Draw(name)
	end, other := r.IntN(2)*(len(found)-1), r.IntN(len(found)-1)
	if other >= end {
		other++
	}
	return []Interp{found[min(end, other)], found[max(end, other)]}
}

// Default returns the interpreter that python3 stands for, and whether it is among those found.
func Default() (Interp, bool) {
	i := ask("python3")
	if i == nil {
		return Interp{}, false
	}
	all := Find()
	at := slices.IndexFunc(all, func(x Interp) bool { return x.Name() == i.Name() })
	if at < 0 {
		return Interp{}, false
	}
	return all[at], true
}

// OneIn skips a test but for one in n of them, which its name draws: for the cases of a matrix in
// which each case is tried on some day. All run where All says so, and with $MITOGEN_HOSTILE (`make
// hostile`). With -short, where the race detector looks at the same code each time, it is one in
// four times as many.
func OneIn(t testing.TB, n int) {
	t.Helper()
	if testing.Short() {
		n *= 4
	}
	if !All() && os.Getenv("MITOGEN_HOSTILE") == "" && Draw(t.Name()).IntN(n) != 0 {
		t.Skipf("not drawn for MITOGEN_SEED=%d", Seed())
	}
}
