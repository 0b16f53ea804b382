package ansible

import (
	"testing"

	"github.com/mitogen-go/mitogen/internal/connect"
)

// What each request of a plugin costs for knowing that its place is still the same.
func BenchmarkPlaceOfARequest(b *testing.B) {
	way := Way{{Target: "ssh:web1", Options: connect.Options{SSH: connect.SSHOptions{Args: []string{"-o", "ControlPersist=no", "-C", "-o", "Port=22"}}}}}
	for b.Loop() {
		if _, err := way.key(); err != nil {
			b.Fatal(err)
		}
	}
}
