package secret

import (
	"context"
	"fmt"
)

// A Place says what one secret is for. A secret that was given for a place is used for no other
// one.
type Place struct {
	Kind   Kind
	Method string // the connection method that asks: ssh, sudo, su, doas, serial, console, ipmi
	Target string // the hops up to the asking hop: "bastion+web1+sudo"
	Host   string // that the secret is given to; as ssh shows it. "": this machine
	User   string // ssh: the account there; other methods: the entered account
	Key    string // Passphrase: the file of the key, on this machine
}

// A Kind of secret.
type Kind string

// The kinds.
const (
	Password   Kind = "password"
	Passphrase Kind = "passphrase" // of a key of this machine, which it never leaves
)

// String names the place in errors and questions.
func (p Place) String() string {
	where := p.Host
	if where == "" {
		where = "this machine"
	}
	switch {
	case p.Kind == Passphrase:
		return fmt.Sprintf("passphrase of %s", p.Key)
	case p.Method == "ssh":
		return fmt.Sprintf("password of %s@%s", p.User, where)
	}
	return fmt.Sprintf("password of %s for %s on %s", p.Method, p.User, where)
}

// A Source finds the secret of a place; "": it knows none. It may be called by several goroutines
// at once. The end of ctx says that the secret isn't needed any more.
type Source func(ctx context.Context, p Place) (Secret, error)
