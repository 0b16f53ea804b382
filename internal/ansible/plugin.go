package ansible

import (
	"bytes"
	_ "embed" // the plugin
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

//go:embed plugin/mitogen.py
var plugin []byte

// Unpack writes the connection plugin to a directory of its own in dir, unless it is there, and returns that. Ansible imports all that
// it finds beside a plugin. executable is what is to start daemons.
func Unpack(dir, executable string) (string, error) {
	text := bytes.Replace(plugin, []byte("\nEXECUTABLE = 'mitogen' "), []byte("\nEXECUTABLE = "+pythonLiteral(executable)+" "), 1)
	if bytes.Equal(text, plugin) {
		return "", errors.New("plugin has no line for its executable")
	}
	dir = filepath.Join(dir, "connection")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	name := filepath.Join(dir, "mitogen.py")
	if old, err := os.ReadFile(name); err == nil && bytes.Equal(old, text) {
		return dir, nil
	}
	f, err := os.CreateTemp(dir, ".mitogen-*") // no .py: nobody is to import it
	if err != nil {
		return "", err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if failed := f.Close(); err == nil {
		err = failed
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return "", fmt.Errorf("unpack the plugin: %w", err)
	}
	return dir, nil
}

// pythonLiteral writes s as a string literal.
func pythonLiteral(s string) string {
	var b strings.Builder
	b.WriteByte('\'')
	for _, r := range s {
		switch {
		case r == '\'' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ':
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('\'')
	return b.String()
}
