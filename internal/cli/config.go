package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"
)

const configUsage = `Flags that are always wanted stand in ~/.config/mitogen/config.yml, or the file
that $MITOGEN_CONFIG names, by their long names:
  daemon: true
  forks: 100
  ssh-arg: [-o, ServerAliveInterval=15]
What a command has no flag for is passed over. The command line wins.`

// configFile returns the name of the file of settings; "" if there is none. If required, a missing
// file is an error.
func configFile() (name string, required bool) {
	if name, ok := os.LookupEnv("MITOGEN_CONFIG"); ok {
		return name, name != ""
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", false
	}
	return filepath.Join(dir, "mitogen", "config.yml"), false
}

// configure sets flags of cmd that the command line hasn't set.
func configure(cmd *cobra.Command) error {
	name, required := configFile()
	if name == "" {
		return nil
	}
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) && !required {
		return nil
	}
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		err = path.Err
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return fmt.Errorf("%s: %s", name, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(doc.Content) == 0 {
		return nil
	}
	top := doc.Content[0]
	if top.Kind != yaml.MappingNode {
		return fmt.Errorf("%s:%d: not a mapping of flags", name, top.Line)
	}
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, value := top.Content[i], top.Content[i+1]
		if err := setFlag(cmd, key.Value, value); err != nil {
			return fmt.Errorf("%s:%d: %s: %w", name, key.Line, key.Value, err)
		}
	}
	return nil
}

func setFlag(cmd *cobra.Command, flag string, value *yaml.Node) error {
	if !someFlag(cmd.Root(), flag) {
		return errors.New("no command has such a flag")
	}
	f := cmd.Flags().Lookup(flag)
	if f == nil || f.Changed {
		return nil
	}
	values := []*yaml.Node{value}
	if value.Kind == yaml.SequenceNode {
		values = value.Content
	}
	for _, v := range values {
		if v.Kind != yaml.ScalarNode {
			return errors.New("neither a value nor a list of values")
		}
		if err := f.Value.Set(v.Value); err != nil {
			return err
		}
	}
	return nil
}

// someFlag says whether any command has a flag.
func someFlag(cmd *cobra.Command, flag string) bool {
	if cmd.Flags().Lookup(flag) != nil {
		return true
	}
	for _, c := range cmd.Commands() {
		if someFlag(c, flag) {
			return true
		}
	}
	return false
}
