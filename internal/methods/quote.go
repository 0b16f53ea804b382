package methods

import "strings"

// QuoteCommand makes one line of a command, which the login shells sh, bash, zsh, dash, ksh, fish,
// csh and tcsh all read as exactly these words. The one exception: csh and tcsh can't read a word
// with a newline in it.
func QuoteCommand(words []string) string {
	var b strings.Builder
	for i, w := range words {
		if i > 0 {
			b.WriteByte(' ')
		}
		quote(&b, w)
	}
	return b.String()
}

// quote puts single quotes around everything but single quotes, backslashes (fish reads them inside
// of quotes) and exclamation marks (csh does): these get a backslash, outside.
func quote(b *strings.Builder, word string) {
	open := false
	toggle := func(want bool) {
		if open != want {
			b.WriteByte('\'')
			open = want
		}
	}
	for i := 0; i < len(word); i++ {
		c := word[i]
		special := c == '\'' || c == '\\' || c == '!'
		toggle(!special)
		if special {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	toggle(false)
	if word == "" {
		b.WriteString("''")
	}
}
