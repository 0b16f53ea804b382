package connect

import "github.com/mitogen-go/mitogen/internal/printable"

// Clean makes text from elsewhere safe for a terminal, as printable.Text does.
func Clean(s string) string { return printable.Text(s) }

// CleanLine is Clean for what must stay on one line, such as names: newlines and tabs become escapes too.
func CleanLine(s string) string { return printable.Line(s) }
