package sshnative

import (
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// able are the algorithms that the transport may use: those of the library that count as secure,
// without SHA-1. A server that has none of them is left to the ssh program.
var able = func() ssh.Algorithms {
	a := ssh.SupportedAlgorithms()
	a.KeyExchanges = append(a.KeyExchanges, curveByOldName)
	for _, list := range []*[]string{&a.KeyExchanges, &a.Ciphers, &a.MACs, &a.HostKeys,
		&a.PublicKeyAuths} {
		*list = slices.DeleteFunc(*list, func(name string) bool { return strings.Contains(name, "sha1") })
	}
	return a
}()

// curveByOldName is another name for ssh.KeyExchangeCurve25519. The library offers both names if it
// is given that one.
const curveByOldName = "curve25519-sha256@libssh.org"

// algorithms returns the lists for the library: those of ssh -G, in their order.
func (c *config) algorithms() (ssh.Config, error) {
	var lists ssh.Config
	for _, l := range []struct {
		key  string
		able []string
		to   *[]string
	}{
		{"kexalgorithms", able.KeyExchanges, &lists.KeyExchanges},
		{"ciphers", able.Ciphers, &lists.Ciphers},
		{"macs", able.MACs, &lists.MACs},
	} {
		if *l.to = c.offered(l.key, l.able); len(*l.to) == 0 {
			return lists, unsupported("%s %s", l.key, c.get(l.key))
		}
	}
	if c.get("ciphers") == c.defaults.get("ciphers") {
		lists.Ciphers = quickFirst(lists.Ciphers)
	}
	if slices.Contains(lists.KeyExchanges, ssh.KeyExchangeCurve25519) &&
		!slices.Contains(c.list("kexalgorithms"), curveByOldName) {
		return lists, unsupported("kexalgorithms without %s", curveByOldName)
	}
	return lists, nil
}

// quickFirst puts first the ciphers for which processors have instructions, which the library
// makes use of. All of ssh's default list are as good; an order that the user has set is kept.
func quickFirst(ciphers []string) []string {
	isQuick := func(name string) bool { return strings.Contains(name, "-gcm@") }
	return append(filter(ciphers, isQuick),
		filter(ciphers, func(name string) bool { return !isQuick(name) })...)
}

func filter(names []string, keep func(string) bool) (all []string) {
	for _, name := range names {
		if keep(name) {
			all = append(all, name)
		}
	}
	return all
}

// offered returns what can be offered of a list. Of a list that the user has set it is the part
// before the first algorithm that is missing here: ssh would prefer that one to those after it.
func (c *config) offered(key string, able []string) (all []string) {
	chosen := c.get(key) != c.defaults.get(key)
	for _, name := range c.list(key) {
		switch {
		case slices.Contains(able, name):
			all = append(all, name)
		case chosen:
			return all
		}
	}
	return all
}

// hostKeyAlgorithms returns the algorithms for the host's key. ssh puts those first for which it
// knows a key of the host, unless the user has set the list; ssh -G doesn't tell one case from the
// other if algorithms were added to the default list.
func (c *config) hostKeyAlgorithms(known []hostLine) ([]string, error) {
	list := c.list("hostkeyalgorithms")
	ordered := knownFirst(list, known)
	if c.get("hostkeyalgorithms") != c.defaults.get("hostkeyalgorithms") &&
		!slices.Equal(list, ordered) {
		return nil, unsupported("order of hostkeyalgorithms %s", c.get("hostkeyalgorithms"))
	}
	ordered = slices.DeleteFunc(ordered,
		func(name string) bool { return !slices.Contains(able.HostKeys, name) })
	if len(ordered) == 0 {
		return nil, unsupported("hostkeyalgorithms %s", c.get("hostkeyalgorithms"))
	}
	return ordered, nil
}

// knownFirst orders algorithms as ssh does. The list stays as it is if a key for its first
// algorithm is known.
func knownFirst(list []string, known []hostLine) []string {
	types := map[string]bool{}
	authority := false
	for _, l := range known {
		switch l.marker {
		case "":
			types[l.key.Type()] = true
		case markCA:
			authority = true
		}
	}
	if types[plainType(list[0])] {
		return slices.Clone(list)
	}
	var first, last []string
	for _, name := range list {
		if types[plainType(name)] || authority && isCert(name) {
			first = append(first, name)
		} else {
			last = append(last, name)
		}
	}
	return append(first, last...)
}

const certSuffix = "-cert-v01@openssh.com"

func isCert(algorithm string) bool { return strings.HasSuffix(algorithm, certSuffix) }

// keyType returns the type of the keys or certificates that an algorithm is for.
func keyType(algorithm string) string {
	switch base, cert := strings.CutSuffix(algorithm, certSuffix); {
	case base == ssh.KeyAlgoRSASHA256 || base == ssh.KeyAlgoRSASHA512:
		if cert {
			return ssh.CertAlgoRSAv01
		}
		return ssh.KeyAlgoRSA
	}
	return algorithm
}

// plainType returns the type of the keys that an algorithm is for, or that its certificates hold.
func plainType(algorithm string) string {
	t := keyType(algorithm)
	base, cert := strings.CutSuffix(t, certSuffix)
	if cert && strings.HasPrefix(base, "sk-") {
		return base + "@openssh.com"
	}
	return base
}

// signing returns the names of the signatures that a key of a type may make, in the order of
// PubkeyAcceptedAlgorithms. sha1 says that ssh could also make one with SHA-1, which isn't made
// here.
func (c *config) signing(typ string) (names []string, sha1 bool) {
	for _, name := range c.list("pubkeyacceptedalgorithms", "pubkeyacceptedkeytypes") {
		if keyType(name) != typ {
			continue
		}
		base, cert := strings.CutSuffix(name, certSuffix)
		switch {
		case base == ssh.KeyAlgoRSA:
			sha1 = true
			continue
		case cert && strings.HasPrefix(base, "sk-"):
			base += "@openssh.com"
		}
		names = append(names, base)
	}
	return names, sha1
}
