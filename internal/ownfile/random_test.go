package ownfile

import (
	"regexp"
	"testing"

	_ "github.com/mitogen-go/mitogen/internal/testenv"
)

func TestRandomName(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{16}$`)
	seen := map[string]bool{}
	for range 1000 {
		name := RandomName()
		if !form.MatchString(name) || seen[name] {
			t.Fatalf("name: got %q, want 16 hexadecimal digits that were not there before", name)
		}
		seen[name] = true
	}
}
