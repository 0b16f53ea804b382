package sshnative

import (
	"cmp"
	"errors"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/secret"
)

// A login authenticates one connection. What it can't do as ssh would is left to the ssh program,
// and always before a password has been given: after that nothing is tried again.
type login struct {
	c           *config
	conn        *sniffer      // to know its errors
	password    secret.Secret // "": none was given for this host
	passphrase  secret.Secret // for the host's keys
	interactive bool          // a user could be asked, by the ssh program

	banner  string // what the server has said, at most 4 KiB
	began   bool   // the server has been asked what it wants
	given   bool   // the password has been sent
	skipped error  // an ErrUnsupported: what ssh would have done besides
	// this machine has no descriptor or memory for what is needed: no further attempt
	lacks   error
	stages  int             // methods of several that have succeeded
	signed  ssh.PublicKey   // the last that has signed
	from    ssh.PublicKey   // the last when this stage began
	tried   map[string]bool // methods, since the last that has succeeded
	methods []string        // what the server takes
	agent   io.Closer       // or nil
	keys    []*identity     // to offer
	after   int             // how many of the keys not to offer: the last of them signed nothing
}

// errDenied says that no method is left.
var errDenied = errors.New("permission denied")

// ErrPasswordGiven marks an error after a password was sent.
var ErrPasswordGiven = errors.New("a password was given")

type passwordGiven struct{ error }

func (e passwordGiven) Unwrap() []error { return []error{e.error, ErrPasswordGiven} }

// skip notes the first thing that ssh would do besides.
func (a *login) skip(err error) {
	if a.lacks == nil && methods.Shortage(err) != nil {
		a.lacks = err
	}
	if a.skipped == nil {
		if !errors.Is(err, ErrUnsupported) {
			err = unsupported("%v", err)
		}
		a.skipped = err
	}
}

// defaultMethods is ssh's order where PreferredAuthentications isn't set.
var defaultMethods = []string{methodGSS, "hostbased", methodKeys, methodQuestions, methodPassword}

// The methods that are known here.
const (
	methodGSS       = "gssapi-with-mic"
	methodKeys      = "publickey"
	methodQuestions = "keyboard-interactive"
	methodPassword  = "password"
)

// next is the ssh.ClientAuthCallback: it chooses the method that is tried next.
func (a *login) next(state *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
	a.began = true
	if err := cmp.Or(a.conn.err(), a.lacks); err != nil {
		return nil, err
	}
	if n := len(state.PartialSuccessMethods); a.tried == nil || n != a.stages {
		a.stages, a.tried, a.after, a.from = n, map[string]bool{}, 0, a.signed
	}
	a.methods = state.AllowedMethods
	for _, name := range a.order() {
		if a.skipped != nil && !a.given {
			return nil, a.skipped
		}
		if a.tried[name] || !slices.Contains(state.AllowedMethods, name) {
			continue
		}
		a.tried[name] = true
		if m := a.method(name, state); m != nil {
			return m, nil
		}
	}
	if a.lacks != nil {
		return nil, a.lacks
	}
	if a.skipped != nil && !a.given {
		return nil, a.skipped
	}
	return nil, errDenied
}

// order returns the methods that the configuration allows, the preferred first.
func (a *login) order() []string {
	order := a.c.list("preferredauthentications")
	if order == nil {
		order = defaultMethods
	}
	return order
}

// method returns what carries a method out. Nil: there is nothing to try.
func (a *login) method(name string, state *ssh.ClientAuthContext) ssh.AuthMethod {
	switch name {
	case methodGSS:
		if a.c.yes("gssapiauthentication") && mayHaveTicket() {
			a.skip(unsupported("%s", name))
		}
	case methodKeys:
		if a.c.yes("pubkeyauthentication") {
			return ssh.PublicKeysCallback(func() ([]ssh.Signer, error) { return a.signers(state) })
		}
	case methodQuestions:
		if a.mayGive("kbdinteractiveauthentication", "challengeresponseauthentication") {
			if !a.interactive { // what is asked besides would be for the user
				return ssh.KeyboardInteractive(a.answer)
			}
			a.skip(unsupported("questions for the user"))
		}
	case methodPassword:
		if a.mayGive("passwordauthentication") {
			return ssh.PasswordCallback(a.give)
		}
	}
	return nil
}

// mayGive tells whether the password is to be given by the method of a switch. Where the user would
// have to be asked for it, the host is left to ssh.
func (a *login) mayGive(keys ...string) bool {
	if !a.c.yes(keys...) || a.c.yes("batchmode") || a.c.number("numberofpasswordprompts", 3) < 1 ||
		a.given {
		return false
	}
	if a.password == "" && a.interactive {
		a.skip(unsupported("a password of the user's"))
	}
	return a.password != ""
}

var errGiven = errors.New("the password was given already")

// give returns the password, once.
func (a *login) give() (string, error) {
	if a.given {
		return "", errGiven
	}
	a.given = true
	return string(a.password), nil
}

// answer is the ssh.KeyboardInteractiveChallenge. The password is given to a single question for
// it that isn't echoed. Nothing else is answered.
func (a *login) answer(_, _ string, questions []string, echos []bool) ([]string, error) {
	if len(questions) == 0 {
		return nil, nil
	}
	if len(questions) > 1 || echos[0] || !methods.AsksPassword(questions[0], a.c.get("user")) {
		a.skip(unsupported("%s asks for more than a password", methodQuestions))
		return nil, a.skipped
	}
	password, err := a.give()
	return []string{password}, err
}

// failed goes on with the keys after a key that can't sign. It does so only if a password has been
// given: else the host is left to ssh.
func (a *login) failed(id *identity, err error) {
	a.skip(err)
	a.after = slices.Index(a.keys, id) + 1
	delete(a.tried, methodKeys)
}

// signers returns the keys to offer.
func (a *login) signers(state *ssh.ClientAuthContext) ([]ssh.Signer, error) {
	held, err := a.heldKeys(state)
	if err != nil {
		a.skip(err)
		return nil, err
	}
	if a.keys, err = a.identities(held); err != nil {
		a.skip(err)
		return nil, err
	}
	if a.lacks != nil {
		return nil, a.lacks
	}
	a.keys = rotate(a.keys, a.from)
	var signers []ssh.Signer
	for _, id := range a.keys[min(a.after, len(a.keys)):] {
		signers = append(signers, id.signer)
		if id.sha1 { // for servers that know nothing else
			a.skip(unsupported("a signature with SHA-1 for %s", id))
		}
	}
	return signers, nil
}

// heldKeys returns the agent's keys. The agent is told first which host the connection leads to, so
// that it can withhold keys that are meant for other ones.
func (a *login) heldKeys(state *ssh.ClientAuthContext) ([]ssh.Signer, error) {
	client, conn, err := a.c.dialAgent()
	if err != nil || client == nil {
		return nil, err
	}
	a.closeAgent()
	a.agent = conn
	if err := bindAgent(client, a.conn, state.Metadata.SessionID()); err != nil {
		return nil, err
	}
	held, _ := client.Signers()
	return held, nil
}

func (a *login) closeAgent() {
	if a.agent != nil {
		a.agent.Close()
	}
}

// bindAgent tells an agent of OpenSSH which host a connection leads to. Other agents refuse the
// request, as ssh knows.
func bindAgent(client agent.ExtendedAgent, conn *sniffer, session []byte) error {
	key, signature, ok := conn.exchange()
	if !ok {
		return unsupported("the agent can't be told of the host")
	}
	client.Extension("session-bind@openssh.com", ssh.Marshal(struct {
		Key, Session, Signature []byte
		Forwarding              bool
	}{key, session, signature, false}))
	return nil
}

// mayHaveTicket tells whether the user could have a ticket of Kerberos.
func mayHaveTicket() bool {
	if runtime.GOOS != "linux" || os.Getenv("KRB5CCNAME") != "" || os.Getenv("KRB5_CONFIG") != "" {
		return true
	}
	for _, name := range []string{"/etc/krb5.conf", "/tmp/krb5cc_" + strconv.Itoa(os.Getuid())} {
		if _, err := os.Stat(name); err == nil {
			return true
		}
	}
	return false
}

// denied makes the error of ssh for a login that failed.
func (a *login) denied() error {
	return says("%s@%s: Permission denied (%s).", a.c.get("user"), a.c.get("hostname"),
		strings.Join(a.methods, ","))
}
