package cli

import (
	"reflect"
	"testing"
)

func TestOwnEnvironment(t *testing.T) {
	got := ownEnvironment([]string{"A=1", "EMPTY=", "PATH=/bin:.:x:/usr/bin", "PYTHONPATH=lib:",
		"PYTHONHOME=/opt", "B=x=y", "L\xff=1", "M=\xff", "=C:=x"})
	want := map[string]string{"A": "1", "EMPTY": "", "PATH": "/bin:/usr/bin", "PYTHONHOME": "/opt",
		"B": "x=y"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
