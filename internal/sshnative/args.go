package sshnative

import (
	"strings"
)

// arguments are the options of ssh's command line that its jumps are given too.
type arguments struct {
	file string // of the configuration; "": ssh's own
}

// ssh's options: with an argument, and those that ssh -G doesn't show and that make it do
// something else than to connect and start a command.
const (
	withArgument = "BbcDEeFIiJLlmOoPpQRSWw"
	beyond       = "EGOQVWy"
)

// parseArguments reads a command line of ssh that ends in "--" and the host.
func parseArguments(argv []string) (a arguments, err error) {
	for i := 1; i < len(argv); i++ {
		word := argv[i]
		if word == "--" && i == len(argv)-2 {
			return a, nil
		}
		if len(word) < 2 || word[0] != '-' || word == "--" {
			return a, unsupported("argument %s", word)
		}
		for j := 1; j < len(word); j++ {
			letter := word[j : j+1]
			if strings.Contains(beyond, letter) {
				return a, unsupported("option -%s", letter)
			}
			if !strings.Contains(withArgument, letter) {
				continue
			}
			value := word[j+1:]
			if i++; value != "" {
				i--
			} else if i < len(argv) {
				value = argv[i]
			}
			if letter == "F" {
				a.file = value
			}
			break
		}
	}
	return a, unsupported("no -- before the host")
}

// jump returns the command line that ssh would use for the last host of a ProxyJump. before are the
// hosts before that. ssh expands tokens in them.
func (a arguments) jump(program, before, last string) ([]string, error) {
	user, host, port := splitJump(last)
	if strings.Contains(before+last, "%") || host == "" || strings.HasPrefix(host, "-") ||
		strings.HasPrefix(user, "-") {
		return nil, unsupported("proxyjump %s", last)
	}
	argv := []string{program}
	for _, option := range []struct{ name, value string }{{"-l", user}, {"-p", port}, {"-J", before},
		{"-F", a.file}} {
		if option.value != "" {
			argv = append(argv, option.name, option.value)
		}
	}
	// ssh -W, by which it connects to the next host, clears them too.
	return append(argv, "-o", "ClearAllForwardings=yes", "--", host), nil
}

// splitJump cuts [ssh://][user@]host[:port]. An IPv6 address may stand in brackets.
func splitJump(jump string) (user, host, port string) {
	host = strings.TrimSuffix(strings.TrimPrefix(jump, "ssh://"), "/")
	if i := strings.LastIndexByte(host, '@'); i >= 0 {
		user, host = host[:i], host[i+1:]
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		host, port, _ = strings.Cut(inner, "]")
		return user, host, strings.TrimPrefix(port, ":")
	}
	if strings.Count(host, ":") == 1 {
		host, port, _ = strings.Cut(host, ":")
	}
	return user, host, port
}
