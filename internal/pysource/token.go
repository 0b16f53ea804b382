// Package pysource understands Python source text, of any version from 2.4 to 3.14, without a
// Python: a lexer that yields the tokens of a file, and built on it a minifier and a scan for
// imports.
//
// Start with Read, which does both. A Lexer, or Tokens for a whole file, is for tools that look at
// the source: comments and line ends that end no statement aren't tokens, Indent and Dedent are.
// Everything here is a pure function of its input, and bounded in time and memory by the input's
// length.
package pysource

import (
	"fmt"
	"slices"
	"sync"
)

// Kind says what a token is.
type Kind uint8

// The kinds of tokens.
const (
	EOF     Kind = iota // end of the source; empty, comes once
	Newline             // end of a logical line
	Indent              // a deeper block begins; the text is the indentation itself
	Dedent              // a block ends; empty
	Name                // identifier or keyword
	Number              // 0777, 10L and 1_000.5e3j alike
	// prefix and quotes included; an f-string is one token, whatever is nested in it
	String
	Op // operator, bracket or delimiter
)

var kindNames = [...]string{"EOF", "NEWLINE", "INDENT", "DEDENT", "NAME", "NUMBER", "STRING", "OP"}

func (k Kind) String() string { return kindNames[k] }

// Token is a piece of a source. Start and End are byte offsets in it.
type Token struct {
	Kind       Kind
	Line       int32 // of Start, from 1; \n, \r\n and \r each end a line
	Start, End int32
}

// Text returns the token's bytes, which belong to src.
func (t Token) Text(src []byte) []byte { return src[t.Start:t.End] }

// Is reports whether the token is a name or an operator written s.
func (t Token) Is(src []byte, s string) bool {
	return (t.Kind == Name || t.Kind == Op) && string(src[t.Start:t.End]) == s
}

// SyntaxError is the error of a Lexer for text that isn't Python.
type SyntaxError struct {
	Line int // from 1
	Msg  string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Msg) }

// Tokens returns all tokens of src; the last is EOF. The error is a *SyntaxError, and the tokens
// before it are returned with it.
func Tokens(src []byte) ([]Token, error) {
	return appendTokens(make([]Token, 0, len(src)/4+8), src)
}

func appendTokens(toks []Token, src []byte) ([]Token, error) {
	l := NewLexer(src)
	for {
		t, err := l.Next()
		if err != nil {
			return toks, err
		}
		toks = append(toks, t)
		if t.Kind == EOF {
			return toks, nil
		}
	}
}

// used holds tokens that are not needed any more: *[]Token.
var used sync.Pool

// withTokens calls f with the tokens of a source whose encoding we know; f must not keep them.
func withTokens(src []byte, f func([]Token) error) error {
	if _, err := header(src); err != nil {
		return err
	}
	room, _ := used.Get().(*[]Token)
	if room == nil {
		room = new([]Token)
	}
	toks, err := appendTokens(slices.Grow((*room)[:0], len(src)/8+8), src)
	*room = toks
	defer used.Put(room)
	if err != nil {
		return err
	}
	return f(toks)
}
