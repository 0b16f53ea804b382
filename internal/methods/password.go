package methods

import "strings"

// AsksPassword tells whether a server asks for the password of user. It knows the closed list of
// words that PAM's modules have for that, in any case. A code, a PIN, an expired password and a
// new one are asked for in other words.
func AsksPassword(text, user string) bool {
	text, user = strings.TrimRight(strings.ToLower(text), " "), strings.ToLower(user)
	switch text {
	case "password:", "ldap password:", "unix password:", user + "'s password:",
		"password for " + user + ":":
		return true
	}
	host, begins := strings.CutPrefix(text, "password for "+user+"@")
	host, ends := strings.CutSuffix(host, ":")
	return begins && ends && host != "" && !strings.ContainsAny(host, " :\t\r\n")
}
