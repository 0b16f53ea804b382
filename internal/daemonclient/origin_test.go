package daemonclient

import (
	"os"
	"strings"
	"testing"

	_ "github.com/mitogen-go/mitogen/internal/testenv"
)

// Ansible's plugin says the same variables of the environment as other clients.
func TestPluginsVariables(t *testing.T) {
	text, err := os.ReadFile("../ansible/plugin/connection.py")
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Join(strings.Fields(string(text)), " ")
	for name, list := range map[string][]string{"LEADING": leading,
		"LEADING_PREFIXES": leadingPrefixes} {
		want := name + " = ('" + strings.Join(list, "', '") + "')"
		if !strings.Contains(words, want) {
			t.Errorf("connection.py: want %s", want)
		}
	}
}
