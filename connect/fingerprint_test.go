package connect

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"
	"time"
)

// uncounted are the fields that decide nothing about a place, with the reason.
var uncounted = map[string]string{"Interactive": "a person is asked while something is opened; " +
	"what is open is the same"}

// Each field of Options counts for the method that it is for. A new one has to, too, or stand
// above.
func TestFingerprint(t *testing.T) {
	methods := map[string]string{"SSH": "ssh", "Sudo": "sudo", "Su": "su", "Doas": "doas",
		"Console": "serial", "Programs": "docker"}
	fields(reflect.TypeFor[Options](), nil, func(path []int, name string, top string) {
		var plain, changed Options
		plain.Programs, changed.Programs = map[string]ProgramOptions{}, map[string]ProgramOptions{}
		other(reflect.ValueOf(&changed).Elem().FieldByIndex(path))
		method := methods[top]
		for _, m := range []string{"ssh", "sudo", "su", "doas", "docker", "serial", "local"} {
			differ := fingerprint(plain, m) != fingerprint(changed, m)
			counts := uncounted[name] == "" && (method == "" || method == m)
			if differ != counts {
				t.Errorf("field %s, method %s: got a fingerprint that differs %v, want %v", name, m, differ,
					counts)
			}
		}
	})
}

// fields calls fn with each field that is no struct.
func fields(typ reflect.Type, path []int, fn func(path []int, name, top string)) {
	for i := range typ.NumField() {
		f := typ.Field(i)
		if f.Type.Kind() == reflect.Struct {
			fields(f.Type, append(path, i),
				func(path []int, name, _ string) { fn(path, f.Name+"."+name, f.Name) })
			continue
		}
		fn(append(append([]int(nil), path...), i), f.Name, f.Name)
	}
}

// other gives v another value than zero.
func other(v reflect.Value) {
	switch x := v.Addr().Interface().(type) {
	case *[]string:
		*x = []string{"x"}
	case **bool:
		*x = new(bool)
	case *map[string]ProgramOptions:
		*x = map[string]ProgramOptions{"docker": {Path: "x"}}
	case *time.Duration:
		*x = time.Second
	default:
		switch v.Kind() {
		case reflect.String:
			v.SetString("x")
		case reflect.Bool:
			v.SetBool(true)
		case reflect.Int:
			v.SetInt(1)
		default:
			panic(fmt.Sprintf("no other value of %T", x))
		}
	}
}

func fingerprint(o Options, method string) string {
	var b bytes.Buffer
	o.Fingerprint(&b, method)
	return b.String()
}

// What is cut otherwise is written otherwise.
func TestFingerprintKeepsApart(t *testing.T) {
	yes, no := true, false
	for name, pair := range map[string][2]Options{
		"arguments": {{SSH: SSHOptions{Args: []string{"a b"}}},
			{SSH: SSHOptions{Args: []string{"a", "b"}}}},
		"secrets":     {{SSH: SSHOptions{Password: "x"}}, {SSH: SSHOptions{Passphrase: "x"}}},
		"passwords":   {{SSH: SSHOptions{Password: "x"}}, {SSH: SSHOptions{Password: "y"}}},
		"compression": {{SSH: SSHOptions{Compression: &yes}}, {SSH: SSHOptions{Compression: &no}}},
		"default":     {{SSH: SSHOptions{Compression: &no}}, {}},
	} {
		if a, b := fingerprint(pair[0], "ssh"), fingerprint(pair[1], "ssh"); a == b {
			t.Errorf("%s: got %q for both, want two", name, a)
		}
	}
}
