package sshnative

import "testing"

// The order of an agent's keys depends on the release, as ssh -V says it.
func TestRelease(t *testing.T) {
	for text, want := range map[string]release{
		"OpenSSH_9.2p1 Debian-2+deb12u6, OpenSSL 3.0.16 11 Feb 2025\n": {9, 2},
		"OpenSSH_10.6p1 Debian-1, OpenSSL 3.6.0 1 Oct 2025\n":          {10, 6},
		"OpenSSH_for_Windows_9.5p1, LibreSSL 3.8.2\n":                  {9, 5},
		"ssh: unknown option -- V\n":                                   {},
	} {
		if got := readRelease([]byte(text)); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
	r := release{10, 4}
	if !r.before(10, 5) || r.before(10, 4) || r.before(9, 9) || !r.before(11, 0) {
		t.Errorf("%v: got another order of releases", r)
	}
	if !(release{}).before(10, 5) {
		t.Error("an unknown release: got one that is new, want an old one")
	}
}
