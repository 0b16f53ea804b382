package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/mitogen-go/mitogen/internal/ansible"
)

const ansibleUsage = `Ansible runs its modules through mitogen with a connection plugin, which this
program carries: no playbook has to be changed, and nothing has to be installed.

  mitogen ansible config >> ansible.cfg
      if that has no [defaults] section yet; else put the two lines there

Instead of "transport = mitogen", hosts and groups can have a variable:
ansible_connection: mitogen.
  mitogen ansible collection
      installs the plugins as a collection instead
  ansible-doc -t connection mitogen
      has the plugin's options and variables
  mitogen_target: bastion+web1+docker:app
      is a variable of a host that is reached in another way than by ssh
  mitogen_via: bastion
      is a variable of a host behind another host of the inventory
  mitogen_persist: true
      keeps connections for further playbooks, with the user's own daemon
  mitogen_native: true
      starts no process of ssh for each host, for many of them`

func newAnsible(s *state) *cobra.Command {
	cmd := &cobra.Command{Use: "ansible config | ansible collection",
		Short: "have Ansible run modules through mitogen", Long: ansibleUsage}
	var dir string
	var report bool
	config := command(s, &cobra.Command{Use: "config [--dir DIR] [--report]",
		Short: "unpack the plugin, and print what ansible.cfg needs", Args: cobra.NoArgs},
		func(_ context.Context, s *state, _ []string) error {
			connection, callback, err := unpackPlugins(dir)
			if err != nil {
				return err
			}
			text := fmt.Sprintf("[defaults]\nconnection_plugins = %s\ntransport = mitogen\n", connection)
			if report {
				text += fmt.Sprintf("callback_plugins = %s\ncallbacks_enabled = mitogen\n", callback)
			}
			_, err = io.WriteString(s.stdout, text)
			return err
		})
	config.Flags().StringVar(&dir, "dir", "", "where to unpack it; default: the user's data directory")
	config.Flags().BoolVar(&report, "report", false,
		"with two lines more, which have it say at the end what was done for each host")
	collection := command(s, &cobra.Command{Use: "collection [--dir DIR]",
		Short: "install the plugins as the collection mitogen_go.mitogen", Args: cobra.NoArgs},
		func(_ context.Context, s *state, _ []string) error {
			exe, err := os.Executable()
			if err != nil {
				return err
			}
			if dir == "" {
				home, err := os.UserHomeDir()
				if err != nil {
					return err
				}
				dir = filepath.Join(home, ".ansible", "collections")
			}
			place, err := ansible.UnpackCollection(dir, exe, version)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(s.stdout,
				"installed in %s; hosts and groups use it by\nansible_connection: mitogen_go.mitogen.mitogen\n",
				place)
			return err
		})
	collection.Flags().StringVar(&dir, "dir", "",
		"a directory of collections; default: ~/.ansible/collections")
	cmd.AddCommand(config, collection)
	return cmd
}

// unpackPlugins returns the directories of the plugins.
func unpackPlugins(dir string) (connection, callback string, err error) {
	exe, err := os.Executable()
	if err != nil {
		return "", "", err
	}
	if dir == "" {
		dir = os.Getenv("XDG_DATA_HOME")
		if dir == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				return "", "", err
			}
			dir = filepath.Join(home, ".local", "share")
		}
		dir = filepath.Join(dir, "mitogen", "ansible")
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", "", err
	}
	return ansible.Unpack(dir, exe)
}
