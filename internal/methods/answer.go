package methods

import (
	"errors"
	"strings"
)

// maxAnswer bounds a password in bytes: PAM reads no more. The account that is entered would read
// the rest of the line.
const maxAnswer = 511

// Errors of a password that can't be typed.
var (
	errAnswerLine = errors.New("password has a line break or another control character, which can't " +
		"be typed")
	errAnswerLong = errors.New("password is longer than 511 bytes, which no program reads")
)

// CheckAnswer returns an error for a password of which a terminal would hand more, or less, to the
// program that asks than the program reads. The error doesn't show the password.
func CheckAnswer(password string) error {
	switch {
	case strings.ContainsFunc(password,
		func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
		return errAnswerLine
	case len(password) > maxAnswer:
		return errAnswerLong
	}
	return nil
}
