// Lab sets up and takes down what the integration tests connect to: see package lab.
package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/mitogen-go/mitogen/internal/lab"
)

const usage = `usage: lab up|down|env

up    set up sshd, users and sudoers file, to stay; env's output follows
down  remove them
env   print how to reach them, as shell variables
`

func main() {
	if len(os.Args) != 2 {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(command string) error {
	var l *lab.Lab
	var err error
	switch command {
	case "up":
		l, err = lab.Up()
	case "env":
		l, err = lab.Find()
	case "down":
		return lab.Down()
	default:
		return fmt.Errorf("unknown command %q", command)
	}
	if err != nil {
		return err
	}
	for _, v := range [][2]string{
		{"HOST", l.Host}, {"PORT", fmt.Sprint(l.Port)}, {"CONFIG", l.Config}, {"KEY", l.Key},
		{"KNOWN_HOSTS", l.KnownHosts}, {"PASSWORD", l.Password},
		{"USERS", strings.Join([]string{lab.Free, lab.Pass, lab.TTY, lab.Log, lab.None}, " ")},
	} {
		fmt.Printf("MITO_LAB_%s='%s'\n", v[0], v[1])
	}
	return nil
}
