package sshconf

import (
	"path/filepath"
	"slices"
	"strings"
)

// valued are ssh's flags with a value.
const valued = "BDEFIJLOPQRSWbceilmopw"

// arguments hold the parts of ssh's options that name files.
type arguments struct {
	file  string   // of -F
	keys  []string // of -i
	lines []string // of -o
}

// eachFlag calls fn with each flag that has a value, and puts what it returns in the value's place,
// in a copy of args.
func eachFlag(args []string, fn func(flag byte, value string) string) []string {
	args = slices.Clone(args)
	for i := 0; i < len(args); i++ {
		word := args[i]
		if len(word) < 2 || word[0] != '-' || word == "--" {
			continue
		}
		at := strings.IndexAny(word[1:], valued) + 1
		switch {
		case at == 0:
		case at+1 < len(word):
			args[i] = word[:at+1] + fn(word[at], word[at+1:])
		case i+1 < len(args):
			i++
			args[i] = fn(word[at], args[i])
		}
	}
	return args
}

func optionsOf(args []string) (o arguments) {
	eachFlag(args, func(flag byte, value string) string {
		switch flag {
		case 'F':
			o.file = value
		case 'i':
			o.keys = append(o.keys, value)
		case 'o':
			o.lines = append(o.lines, value)
		}
		return value
	})
	return o
}

// fileOptions are the keywords whose value names files.
var fileOptions = []string{"identityfile", "certificatefile", "userknownhostsfile",
	"globalknownhostsfile", "controlpath", "identityagent", "revokedhostkeys"}

// Absolute returns args, as ssh has them, with names of files that are relative to dir as they are
// anywhere.
func Absolute(args []string, dir string) []string {
	return eachFlag(args, func(flag byte, value string) string {
		switch flag {
		case 'F', 'i', 'S', 'E':
			return AbsoluteFile(value, dir)
		case 'o':
			return absoluteOption(value, dir)
		}
		return value
	})
}

// AbsoluteFile returns the name of a file that is relative to dir as it is anywhere. What ssh
// expands, and "none", stay.
func AbsoluteFile(name, dir string) string {
	if name == "" || filepath.IsAbs(name) || strings.EqualFold(name, "none") ||
		strings.ContainsRune("~%$", rune(name[0])) || name == "SSH_AUTH_SOCK" {
		return name
	}
	return filepath.Join(dir, name)
}

func absoluteOption(line, dir string) string {
	words := splitLine(line)
	if len(words) < 2 || !slices.Contains(fileOptions, strings.ToLower(words[0])) {
		return line
	}
	for i, w := range words[1:] {
		words[i+1] = quoted(AbsoluteFile(w, dir))
	}
	return words[0] + "=" + strings.Join(words[1:], " ")
}

// quoted keeps a name together for ssh.
func quoted(word string) string {
	if strings.ContainsAny(word, " \t#'\"\\") {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(word) + `"`
	}
	return word
}
