package engine

import (
	"os"
	"testing"

	"github.com/mitogen-go/mitogen/internal/connect"
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
