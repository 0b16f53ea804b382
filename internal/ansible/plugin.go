package ansible

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/lazyregexp"
	"github.com/mitogen-go/mitogen/internal/methods"
)

//go:embed plugin
var plugins embed.FS

// Unpack writes the plugins to dir, each to a directory of its own (Ansible imports all that it
// finds beside a plugin), and returns those: of the connection plugin, and of the callback.
// executable is the program that starts daemons.
func Unpack(dir, executable string) (connection, callback string, err error) {
	connection, callback = filepath.Join(dir, "connection"), filepath.Join(dir, "callback")
	return connection, callback, unpackTo(connection, callback, executable)
}

// UnpackCollection writes the plugins as a collection to a directory of collections, and returns
// where that is.
func UnpackCollection(dir, executable, version string) (string, error) {
	place := filepath.Join(dir, "ansible_collections", "mitogen_go", "mitogen")
	if err := unpackTo(filepath.Join(place, "plugins", "connection"),
		filepath.Join(place, "plugins", "callback"), executable); err != nil {
		return "", err
	}
	if !semantic.MatchString(version) {
		version = "0.0.0" // all that Ansible takes
	}
	return place, unpack(place, "galaxy.yml",
		[]byte("namespace: mitogen_go\nname: mitogen\nversion: "+version+
			"\nreadme: README.md\nauthors: [the Mitogen project]\nlicense: [GPL-3.0-or-later]\n"))
}

var semantic = lazyregexp.New(`^\d+\.\d+\.\d+$`)

// importPlace is the import that unpackTo replaces with the text of plugin/place.py: an unpacked
// plugin is one file.
const importPlace = "\nfrom place import PlaceError, dial, socket_directory "

func unpackTo(connection, callback, executable string) error {
	place, err := plugins.ReadFile("plugin/place.py")
	if err != nil {
		return err
	}
	for _, f := range []struct {
		dir, source string
		lines       [][2]string
	}{
		{connection, "plugin/connection.py", [][2]string{
			{importPlace, "\n" + string(place)},
			{"\nEXECUTABLE = 'mitogen' ", "\nEXECUTABLE = " + pythonLiteral(executable) + " "},
			{"\nBOOT = '' ", "\nBOOT = " +
				pythonLiteral(methods.QuoteCommand(boot.Command([]string{bootPython}, boot.Pipe))) + " "},
		}},
		{callback, "plugin/callback.py", [][2]string{{importPlace, "\n" + string(place)}}},
	} {
		text, err := plugins.ReadFile(f.source)
		if err != nil {
			return err
		}
		for _, line := range f.lines {
			if text, err = replaceLine(text, line[0], line[1]); err != nil {
				return err
			}
		}
		if err := unpack(f.dir, "mitogen.py", text); err != nil {
			return err
		}
	}
	return nil
}

// replaceLine puts with in place of what a plugin's source has once. The rest of that line becomes
// a comment, if it isn't one.
func replaceLine(text []byte, old, with string) ([]byte, error) {
	if bytes.Count(text, []byte(old)) != 1 {
		return nil, fmt.Errorf("plugin has no single line %q", strings.TrimSpace(old))
	}
	return bytes.Replace(text, []byte(old), []byte(with), 1), nil
}

// bootPython marks the place of an interpreter's path in a command, which the plugin fills in.
const bootPython = "@PYTHON@"

// unpack writes a file of dir, unless it is there, so that no reader sees half of it.
func unpack(dir, base string, text []byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	name := filepath.Join(dir, base)
	if old, err := os.ReadFile(name); err == nil && bytes.Equal(old, text) {
		return nil
	}
	f, err := os.CreateTemp(dir, ".mitogen-*") // no .py: nothing may import it
	if err != nil {
		return err
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
		return fmt.Errorf("unpack the plugin: %w", err)
	}
	return nil
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
