package inventory

import (
	"errors"
	"strings"
)

// shellWords splits as Python's shlex does: quotes, backslashes, no comments.
func shellWords(line string) ([]string, error) { return splitWords(line, false) }

// splitWords splits a line. With comments, an unquoted "#" ends it, within a word too.
func splitWords(line string, comments bool) ([]string, error) {
	s := wordSplitter{comments: comments}
	for _, c := range line {
		s.take(c)
		if s.done {
			break
		}
	}
	switch {
	case s.done:
	case s.escaped:
		return nil, errors.New("a backslash without a character")
	case s.quote != 0:
		return nil, errors.New("a quote without its end")
	}
	s.end()
	return s.words, nil
}

type wordSplitter struct {
	comments bool
	words    []string
	word     strings.Builder
	begun    bool
	quote    rune // the open quote
	escaped  bool // the last character was a backslash
	done     bool // a comment was met
}

func (s *wordSplitter) take(c rune) {
	switch {
	case s.escaped:
		if s.quote != 0 && c != '\\' && c != s.quote {
			s.word.WriteByte('\\')
		}
		s.word.WriteRune(c)
		s.escaped = false
	case c == '\\' && s.quote != '\'':
		s.escaped, s.begun = true, true
	case s.quote != 0 && c == s.quote:
		s.quote = 0
	case s.quote != 0:
		s.word.WriteRune(c)
	case c == '\'' || c == '"':
		s.quote, s.begun = c, true
	case strings.ContainsRune(" \t\r\n", c):
		s.end()
	case c == '#' && s.comments:
		s.done = true
	default:
		s.word.WriteRune(c)
		s.begun = true
	}
}

func (s *wordSplitter) end() {
	if s.begun {
		s.words = append(s.words, s.word.String())
	}
	s.word.Reset()
	s.begun = false
}
