// Sizes prints, as JSON, how many bytes the command has that starts a child, and what is sent to it
// first. The harness builds it of an earlier revision, too.
package main

import (
	"encoding/json"
	"os"
	"strings"

	"github.com/mitogen-go/mitogen/internal/boot"
)

func main() {
	json.NewEncoder(os.Stdout).Encode(map[string]int{
		"command": len("python3 ") + len(strings.Join(boot.Command(nil, boot.Ahead), " ")),
		"sent":    len(boot.Head(boot.Config{Name: "web1+sudo"}, 9999)) + len(boot.Image()),
	})
}
