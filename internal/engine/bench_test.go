package engine

import (
	"os"
	"runtime"
	"testing"

	"github.com/mitogen-go/mitogen/connect"
)

// BenchmarkPlace measures what each request to a daemon costs for knowing that its place is still
// the same.
func BenchmarkPlace(b *testing.B) {
	from := &Origin{Dir: "/", Env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}}
	options := connect.Options{SSH: connect.SSHOptions{Args: []string{"-C", "-o", "Port=22"}}}
	for _, target := range []string{"ssh:web1", "local"} {
		b.Run(target, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Place(target, options, from); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkNew measures what each start of the program has of an engine, before there is a context.
func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		e, err := New(Options{})
		if err != nil {
			b.Fatal(err)
		}
		e.Close()
	}
}

// An engine without contexts has compressed nothing, for which a call through a daemon has no use.
func TestNewIsCheap(t *testing.T) {
	const n = 10
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range n {
		e, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		e.Close()
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / n; each > 200<<10 {
		t.Errorf("an engine: got %d bytes, want at most %d", each, 200<<10)
	}
}
