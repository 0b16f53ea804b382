// Package portforward forwards ports and UNIX sockets, as ssh does by -L, -R, -D and -W: it reads
// what is to be forwarded, listens, and copies between connections. Where these are made, callers
// say by functions.
package portforward

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Address is an address of package net: HOST:PORT, or the path of a UNIX socket.
type Address struct{ Network, Text string }

func (a Address) String() string { return a.Text }

// Kinds of Spec, by the letters of ssh's options.
const (
	Local   = 'L' // listen here, connect there
	Remote  = 'R' // listen there, connect here
	Dynamic = 'D' // as Local, to where a SOCKS client says
	Stdio   = 'W' // connect stdin and stdout there
)

// Spec says what is to be forwarded.
type Spec struct {
	Kind   byte
	Listen Address // not of Stdio
	To     Address // the zero value: where a SOCKS client says
}

// SOCKS tells whether clients say where they want to connect to.
func (s Spec) SOCKS() bool { return s.To == Address{} }

// Error is a text that says nothing that can be forwarded.
type Error struct{ Text, Problem string }

func (e *Error) Error() string { return fmt.Sprintf("%.200q: %s", e.Text, e.Problem) }

// loopback is listened at where no address is given.
const loopback = "localhost"

// field is a part of a text between colons.
type field struct {
	text string
	path bool // it has a slash, which makes it a path
}

// split takes a text apart at colons. Brackets keep the colons of an address, a backslash keeps the
// character behind it.
func split(text string) ([]field, error) {
	var all []field
	for rest := text; ; {
		f, end, err := first(rest)
		if err != nil {
			return nil, &Error{text, err.Error()}
		}
		if all = append(all, f); end == len(rest) {
			return all, nil
		}
		if rest = rest[end+1:]; rest == "" {
			return all, nil // ssh takes a last colon, too
		}
	}
}

// first reads a field, and returns where it ends.
func first(text string) (f field, end int, err error) {
	if strings.HasPrefix(text, "[") {
		end = strings.IndexByte(text, ']')
		if end < 0 || end+1 < len(text) && text[end+1] != ':' {
			return f, 0, fmt.Errorf("bracket that isn't closed")
		}
		return field{text[1:end], strings.Contains(text[1:end], "/")}, end + 1, nil
	}
	var b strings.Builder
	for end < len(text) && text[end] != ':' {
		if text[end] == '\\' {
			if end++; end == len(text) {
				return f, 0, fmt.Errorf("ends with a backslash")
			}
		} else {
			f.path = f.path || text[end] == '/'
		}
		b.WriteByte(text[end])
		end++
	}
	f.text = b.String()
	return f, end, nil
}

// Parse reads the value of an option, by its letter: [BIND:]PORT:HOST:PORT, where a path may stand
// for BIND:PORT and for HOST:PORT; [BIND:]PORT for Dynamic and Remote; HOST:PORT or a path for
// Stdio.
func Parse(kind byte, text string) (Spec, error) {
	fields, err := split(text)
	if err != nil {
		return Spec{}, err
	}
	p := parser{text: text, rest: fields}
	s := Spec{Kind: kind}
	if kind != Stdio {
		s.Listen = p.listen(kind == Dynamic)
	}
	if len(p.rest) > 0 || kind == Stdio || kind == Local {
		s.To = p.to()
	}
	switch {
	case p.err != nil:
		return Spec{}, p.err
	case len(p.rest) > 0 || kind == Dynamic && !s.SOCKS():
		return Spec{}, &Error{text, "got more than was expected, behind a port"}
	}
	return s, nil
}

// ParsePorts reads kubectl's form: LOCAL:PORT, PORT for both, or :PORT to have the system choose
// the local port. The connection goes to localhost there.
func ParsePorts(text string) (Spec, error) {
	local, port, two := strings.Cut(text, ":")
	if !two {
		port = local
	} else if local == "" {
		local = "0"
	}
	p := parser{text: text}
	s := Spec{
		Kind:   Local,
		Listen: Address{"tcp", net.JoinHostPort(loopback, p.port(local, 0))},
		To:     Address{"tcp", net.JoinHostPort(loopback, p.port(port, 1))},
	}
	return s, p.err
}

// parser takes addresses from fields. After an error it returns none.
type parser struct {
	text string
	rest []field
	err  error
}

func (p *parser) fail(problem string) {
	if p.err == nil {
		p.err = &Error{p.text, problem}
	}
}

func (p *parser) next() field {
	if len(p.rest) == 0 {
		p.fail("got too few parts, want a port or a path")
		return field{}
	}
	f := p.rest[0]
	p.rest = p.rest[1:]
	return f
}

// port takes a number, or the name of a service.
func (p *parser) port(text string, least int) string {
	n, err := strconv.Atoi(text)
	if err != nil && text != "" {
		n, err = net.LookupPort("tcp", text)
	}
	if err != nil || n < least || n > 65535 {
		p.fail(fmt.Sprintf("got port %.20q, want a number from %d to 65535", text, least))
		return "0"
	}
	return strconv.Itoa(n)
}

// listen takes a path, PORT or BIND:PORT. Which of these it is, the number of fields says: behind
// it comes a path, HOST:PORT, or nothing.
func (p *parser) listen(alone bool) Address {
	if len(p.rest) > 0 && p.rest[0].path {
		return Address{"unix", p.next().text}
	}
	n := len(p.rest)
	behind := 2 // of HOST:PORT
	if n > 0 && p.rest[n-1].path {
		behind = 1
	}
	if alone || n < 3 && behind == 2 {
		behind = 0
	}
	bind := loopback
	if n-behind >= 2 {
		if bind = p.next().text; bind == "" {
			bind = "*"
		}
	}
	return Address{"tcp", net.JoinHostPort(bind, p.port(p.next().text, 0))}
}

// to takes a path, or HOST:PORT.
func (p *parser) to() Address {
	f := p.next()
	if f.path {
		return Address{"unix", f.text}
	}
	if f.text == "" {
		p.fail("got no host")
	}
	return Address{"tcp", net.JoinHostPort(f.text, p.port(p.next().text, 1))}
}
