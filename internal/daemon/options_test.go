package daemon

import (
	"errors"
	"net"
	"reflect"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/daemonclient"
	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/secret"
)

// A changed option is another context.
func TestOptionsMatter(t *testing.T) {
	l := lab.Need(t)
	d, _ := running(t, Options{})
	e := client(t, d)
	target := "sudo:" + lab.Pass + "+sudo"
	right := connect.Options{Sudo: connect.SudoOptions{Password: secret.Secret(l.Password)}}
	var a, b int
	if err := call(start(t, e, target, right), "ppid", &a); err != nil {
		t.Fatal(err)
	}
	if err := call(start(t, e, target, connect.Options{Sudo: connect.SudoOptions{Password: "wrong"}}),
		"ppid", &b); !errors.Is(err, connect.ErrSudoPassword) {
		t.Errorf("a wrong password: %v", err)
	}
	if err := call(start(t, e, target, right), "ppid", &b); err != nil || a != b {
		t.Error(a, b, err)
	}
}

// Every option gets over the socket.
func TestOptionsSurvive(t *testing.T) {
	var o connect.Options
	fill(reflect.ValueOf(&o).Elem())
	o.Interactive = false // the daemon's own
	client, server := net.Pipe()
	go func() {
		daemonclient.NewChannel(client).Send(&daemonclient.Message{Options: daemonclient.OptionsOf(&o)})
	}()
	m, err := daemonclient.NewChannel(server).Receive(nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Options.Connect(); !reflect.DeepEqual(got, o) {
		t.Errorf("got %#v, want %#v", got, o)
	}
}

// fill sets every field to something.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("x" + v.Type().Name())
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int:
		v.SetInt(7)
	case reflect.Int64:
		v.SetInt(int64(3 * time.Second))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(1))
	case reflect.Map:
		e := reflect.New(v.Type().Elem()).Elem()
		fill(e)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("k"), e)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	}
}
