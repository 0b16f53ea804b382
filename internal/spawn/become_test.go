package spawn

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/secret"
)

// su and doas, by users whom they ask.
func TestSuAndDoas(t *testing.T) {
	l := lab.Need(t)
	options := func(password string) connect.Options {
		p := secret.Secret(password)
		return connect.Options{Su: connect.SuOptions{Password: p}, Doas: connect.DoasOptions{Password: p}}
	}
	for _, tt := range []struct {
		name, user, target, password string
		want                         error
		as                           string
	}{
		{"su by root", "root", "su:" + lab.Free, "", nil, lab.Free},
		{"su by root, password not needed", "root", "su:" + lab.Free, l.Password, nil, lab.Free},
		{"su, right", lab.Free, "su:" + lab.Pass, l.Password, nil, lab.Pass},
		{"su, wrong", lab.Free, "su:" + lab.Pass, "wrong", connect.ErrAuth, ""},
		{"su, missing", lab.Free, "su:" + lab.Pass, "", connect.ErrAuth, ""},
		{"su, unknown user", lab.Free, "su:mito-nobody", l.Password, connect.ErrUnknownUser, ""},
		{"doas, no password needed", lab.Free, "doas", "", nil, "root"},
		{"doas, another user", lab.Free, "doas:" + lab.None, "wrong", nil, lab.None},
		{"doas, right", lab.Pass, "doas", l.Password, nil, "root"},
		{"doas, wrong", lab.Pass, "doas", "wrong", connect.ErrAuth, ""},
		{"doas, missing", lab.Pass, "doas", "", connect.ErrPasswordRequired, ""},
		{"doas, not allowed", lab.None, "doas", l.Password, connect.ErrNotPermitted, ""},
		{"doas, unknown user", lab.Free, "doas:mito-nobody", "", connect.ErrUnknownUser, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if strings.HasPrefix(tt.name, "doas") && !lab.HasDoas() {
				t.Skip("no doas, or one that is configured otherwise")
			}
			p := become(t, tt.user, tt.target, options(tt.password), "echo begin; id -un; head -n 1")
			if tt.want != nil {
				io.WriteString(p.Stdin, "what is not a password\n")
				<-p.Done()
				if !errors.Is(p.Err(), tt.want) {
					t.Errorf("%v (%+v), want %v", p.Err(), p.Failure(), tt.want)
				}
				return
			}
			// only then may more be sent to a program that asks on its standard input
			line := make([]byte, len("begin\n"))
			if _, err := io.ReadFull(p.Stdout, line); err != nil {
				t.Fatal(err, p.Text())
			}
			io.WriteString(p.Stdin, "and read\n")
			if got := readAll(t, p.Stdout); got != tt.as+"\nand read\n" || p.Wait() != 0 {
				t.Errorf("%q, status %d, %q", got, p.Status(), p.Text())
			}
			if strings.Contains(p.Text(), l.Password) {
				t.Errorf("password in %q", p.Text())
			}
		})
	}
}
