package engine

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// Requests are taken out in any order, and those that are left keep theirs.
func TestOpenRequests(t *testing.T) {
	var o openRequests
	var want []*Pending
	random := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		switch p := (&Pending{}); {
		case random.IntN(2) == 0:
			o.add(p)
			want = append(want, p)
		case len(want) > 0:
			i := random.IntN(len(want))
			o.remove(want[i])
			o.remove(want[i]) // which it isn't in any more
			want = slices.Delete(want, i, i+1)
		}
		if got := o.all(); !slices.Equal(got, want) || o.n != len(want) {
			t.Fatalf("requests: got %v, n %d, want %v", got, o.n, want)
		}
	}
	o.clear()
	if o.first != nil || o.last != nil || o.n != 0 || want[0].in.listed {
		t.Errorf("after clear: got %+v, want nothing", o)
	}
}
