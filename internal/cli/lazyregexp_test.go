package cli

import (
	"testing"

	"github.com/mitogen-go/mitogen/internal/lazyregexp"
)

// The first use of an expression must not be the first to find out that it is none.
func TestAllExpressionsCompile(t *testing.T) {
	all := lazyregexp.All()
	if len(all) < 60 {
		t.Fatalf("expressions of the program: got %d, want more than 60", len(all))
	}
	for _, e := range all {
		e.MatchString("")
	}
}
