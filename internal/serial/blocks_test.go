package serial

import (
	"maps"
	"slices"
	"testing"
	"time"
)

// An answer settles its own block, or none if it was damaged on the way.
func TestSettled(t *testing.T) {
	for text, left := range map[string][]int{
		"MITO-A1:1\n":                 {2, 11},
		"MITO-A1:1":                   {1, 2, 11},
		"MITO-A1:1\nMITO-A11:11\n":    {2},
		"MITO-A2:11\n":                {1, 2, 11},
		"MITO-A1:11\n":                {1, 2, 11},
		"MITO-A1:1\r\nMITO-A2:2\r\n":  {11},
		"MITO-A1\nMITO-A2:\n":         {1, 2, 11},
		"MITO-A-1:-1\nxMITO-A11:11\n": {1, 2},
		"MITO-A99:99\n":               {1, 2, 11},
	} {
		missing := map[int]time.Time{1: {}, 2: {}, 11: {}}
		k := &talk{seen: []byte(text)}
		k.settled(missing)
		if got := slices.Sorted(maps.Keys(missing)); !slices.Equal(got, left) {
			t.Errorf("%q: got %v left, want %v", text, got, left)
		}
	}
}

// A quick line isn't given up before an open link would be: its machine may be busy. A slow one
// gets the time that its blocks take.
func TestBusyMachineIsNoDamage(t *testing.T) {
	for _, rate := range []int{0, 11_520, 30} {
		l := &talk{rate: rate}
		if got := l.stuck(3000); got < Idle || got < 10*l.takes(3000) {
			t.Errorf("%d bytes/s: got %v, want %v or more", rate, got, max(Idle, 10*l.takes(3000)))
		}
	}
}
