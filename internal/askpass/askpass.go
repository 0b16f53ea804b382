// Package askpass answers the questions of ssh processes that this program starts: passwords,
// passphrases, host keys, and the notices of security keys.
//
// ssh asks by executing the program that SSH_ASKPASS names. That is this very program again:
// importing the package is enough, for any program (client.go). The copy finds a socket's path and
// a token in its environment, sends the question there and prints the answer. It ends when the
// socket does, and so with this program.
//
// A Server takes the questions of any number of ssh processes, each registered with the Func that
// answers it. An Answerer makes a Func of options.
package askpass

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/peer"
	"github.com/mitogen-go/mitogen/internal/printable"
)

// envName holds "token:path of the socket" for the client.
const envName = "MITOGEN_ASKPASS"

// A Server answers the ssh processes of this program. The zero value is ready; it costs nothing
// before Register.
type Server struct {
	peers peer.Server

	mu      sync.Mutex        // protects following
	clients map[string]client // by token
}

type client struct {
	hop    string
	answer connect.PromptFunc
}

// Register returns what to add to the environment of one ssh process, whose questions answer is
// called for, by several goroutines at once if ssh is. release ends that; call it when the process
// has ended.
func (s *Server) Register(hop string, answer connect.PromptFunc) (env []string, release func(),
	err error) {
	socket, err := s.peers.Start(s.handle)
	if err != nil {
		return nil, nil, fmt.Errorf("register askpass: %w", err)
	}
	program, err := s.peers.Program()
	if err != nil {
		return nil, nil, fmt.Errorf("register askpass: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clients == nil {
		s.clients = map[string]client{}
	}
	token := rand.Text()
	s.clients[token] = client{hop, answer}
	release = func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.clients, token)
	}
	env = []string{
		"SSH_ASKPASS=" + program,
		"SSH_ASKPASS_REQUIRE=force",
		envName + "=" + token + ":" + socket,
	}
	if os.Getenv("DISPLAY") == "" { // without one, OpenSSH before 8.4 doesn't ask
		env = append(env, "DISPLAY=:0")
	}
	return env, release, nil
}

// Close ends all dialogues, and with them the askpass processes, removes the socket, and waits for
// the Funcs to return.
func (s *Server) Close() error { return s.peers.Close() }

// handle serves one question. A client without a valid token gets no answer.
func (s *Server) handle(c *net.UnixConn) {
	q, err := readQuestion(c)
	if err != nil {
		return
	}
	s.mu.Lock()
	who, known := s.clients[q.token]
	s.mu.Unlock()
	if !known {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	gone := make(chan struct{})
	go func() { // ssh kills the client when it needs no answer any more
		defer close(gone)
		io.Copy(io.Discard, c)
		cancel()
	}()
	defer func() { c.Close(); <-gone }()
	kind := kindOf(q.hint, q.text)
	answer, err := who.answer(withAsker(ctx, q.asker),
		connect.Prompt{Hop: who.hop, Kind: kind, Text: printable.Text(q.text)})
	if kind == connect.PromptNotice { // stays up until ssh takes it away
		<-gone
		return
	}
	if err != nil {
		return
	}
	reply := append([]byte{accepted}, answer...)
	defer clear(reply)
	c.Write(reply)
}

// accepted precedes an answer. A refusal is silent.
const accepted = '+'

// A question is a client's request: the token, ssh's hint, ssh's text, and the process that asks.
// On the socket each field follows its length (u32).
type question struct{ token, hint, text, asker string }

const maxText = 16 << 10

func (q question) append(b []byte) []byte {
	for _, s := range []string{q.token, q.hint, q.text, q.asker} {
		s = s[:min(len(s), maxText)]
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	return b
}

func readQuestion(r io.Reader) (q question, err error) {
	for _, s := range []*string{&q.token, &q.hint, &q.text, &q.asker} {
		var size [4]byte
		if _, err := io.ReadFull(r, size[:]); err != nil {
			return q, err
		}
		n := binary.BigEndian.Uint32(size[:])
		if n > maxText {
			return q, errors.New("question too long")
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(r, b); err != nil {
			return q, err
		}
		*s = string(b)
	}
	return q, nil
}

// askerKey is the key of a context.Context for the id of the process that asks.
type askerKey struct{}

func withAsker(ctx context.Context, asker string) context.Context {
	return context.WithValue(ctx, askerKey{}, asker)
}

// KindOf returns the kind of a question by ssh's words alone, as they come on a terminal.
func KindOf(text string) connect.PromptKind { return kindOf("", text) }

// kindOf tells a kind by ssh's hint, then by its words. Words of a server never make a question one
// of ssh's own: what begins as a server's questions do can only be about a password, or something
// else.
func kindOf(hint, text string) connect.PromptKind {
	switch hint {
	case "none":
		return connect.PromptNotice
	case "confirm":
		return connect.PromptConfirm
	}
	if loc := serverPrefix.FindStringIndex(text); loc != nil {
		user, _, _ := strings.Cut(account(text), "@")
		if methods.AsksPassword(text[loc[1]:], user) {
			return connect.PromptPassword
		}
		return connect.PromptOther
	}
	for _, w := range wordings {
		if strings.HasPrefix(text, w.begin) && strings.Contains(text, w.has) &&
			strings.HasSuffix(text, w.end) {
			return w.kind
		}
	}
	if ownQuestion.MatchString(text) || methods.AsksPassword(text, "") {
		return connect.PromptPassword
	}
	return connect.PromptOther
}

// The file of a key stands between these.
const (
	passphraseBegin = "Enter passphrase for key '"
	passphraseEnd   = "': "
)

// wordings are ssh's own questions. The first that fits decides. Names of files and hosts may hold
// any words.
var wordings = []struct {
	begin, has, end string
	kind            connect.PromptKind
}{
	{"The authenticity of ", "(yes/no", "", connect.PromptHostKey},
	{"Are you sure you want to continue connecting (yes/no", "", "", connect.PromptHostKey},
	{"Please type 'yes'", "", "", connect.PromptHostKey},
	{passphraseBegin, "", passphraseEnd, connect.PromptPassphrase},
	{"Enter PIN ", "", "", connect.PromptPIN},
	{"Confirm user presence", "", "", connect.PromptNotice},
}
