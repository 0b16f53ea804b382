package goctx

import "testing"

// Of all that comes before the program has started the end is never left out.
func TestEarly(t *testing.T) {
	p := &session{}
	called := 0
	for range maxEarly + 1 {
		p.when(func() { called++ })
	}
	ended := false
	p.when(func() { ended = true })
	p.ready()
	if called >= maxEarly || !ended {
		t.Errorf("got %d calls, end %v, want fewer than %d and the end", called, ended, maxEarly)
	}
}
