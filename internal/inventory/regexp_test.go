package inventory

import "testing"

func TestAllExpressionsCompile(t *testing.T) {
	if len(expressions) < 20 {
		t.Fatalf("expressions of the package: got %d, want more than 20", len(expressions))
	}
	for _, e := range expressions {
		e.get()
	}
}
