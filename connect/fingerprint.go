package connect

import (
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"

	"github.com/mitogen-go/mitogen/secret"
)

// Fingerprint writes all of o that decides about a hop of that method, secrets in clear: what is
// equal for options that lead to the same place in the same way. Interactive doesn't count.
func (o Options) Fingerprint(w io.Writer, method string) {
	o.Interactive = false
	common, none := o, Options{}
	common.SSH, common.Sudo, common.Su, common.Doas = none.SSH, none.Sudo, none.Su, none.Doas
	common.Console, common.Programs = none.Console, nil
	write(w, reflect.ValueOf(common))
	switch method {
	case "ssh":
		write(w, reflect.ValueOf(o.SSH))
	case "sudo":
		write(w, reflect.ValueOf(o.Sudo))
	case "su":
		write(w, reflect.ValueOf(o.Su))
	case "doas":
		write(w, reflect.ValueOf(o.Doas))
	case "serial", "console", "ipmi":
		write(w, reflect.ValueOf(o.Console))
		write(w, reflect.ValueOf(o.Programs[method]))
	default:
		write(w, reflect.ValueOf(o.Programs[method]))
	}
}

// write writes a value so that unequal ones are written differently.
func write(w io.Writer, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			write(w, v.Field(i))
		}
	case reflect.Pointer:
		fmt.Fprintf(w, "%t ", v.IsNil())
		if !v.IsNil() {
			write(w, v.Elem())
		}
	case reflect.Slice:
		fmt.Fprintf(w, "%d ", v.Len())
		for i := range v.Len() {
			write(w, v.Index(i))
		}
	case reflect.Map:
		keys := map[string]reflect.Value{}
		for _, k := range v.MapKeys() {
			keys[k.String()] = v.MapIndex(k)
		}
		fmt.Fprintf(w, "%d ", len(keys))
		for _, k := range slices.Sorted(maps.Keys(keys)) {
			fmt.Fprintf(w, "%q ", k)
			write(w, keys[k])
		}
	case reflect.String:
		switch s := v.Interface().(type) {
		case secret.Secret:
			s.Digest(w)
			return
		case secret.Table:
			secret.Secret(s).Digest(w)
			return
		}
		fmt.Fprintf(w, "%q ", v.String())
	case reflect.Bool:
		fmt.Fprintf(w, "%t ", v.Bool())
	case reflect.Int, reflect.Int64:
		fmt.Fprintf(w, "%d ", v.Int())
	default:
		panic("fingerprint of a " + v.Kind().String())
	}
}
