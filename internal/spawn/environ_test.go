package spawn

import (
	"slices"
	"testing"
)

func TestAbsolute(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"PATH=.:/bin::bin", "PATH=/bin"},
		{"PYTHONPATH=", ""},
		{"PYTHONPATH=:", ""},
		{"PYTHONPATH=.", ""},
		{"PYTHONPATH=lib:/a b:", "PYTHONPATH=/a b"},
		{"PYTHONPATH=::/a::/b:x", "PYTHONPATH=/a:/b"},
		{"PYTHONPATH=/a:/b", "PYTHONPATH=/a:/b"},
		{"PYTHONHOME=/a:b", ""},
		{"PYTHONHOME=/a:/b", "PYTHONHOME=/a:/b"},
		{"PYTHONHOME=..", ""},
		{"PYTHONUSERBASE=x", ""},
		{"PYTHONUSERBASE=~/x", ""},
		{"PYTHONUSERBASE=/x", "PYTHONUSERBASE=/x"},
		{"PYTHONPYCACHEPREFIX=x", ""},
		{"PYTHONDONTWRITEBYTECODE=x", "PYTHONDONTWRITEBYTECODE=x"},
	} {
		env := []string{"A=1", tt.in, "B=2"}
		want := []string{"A=1", tt.want, "B=2"}
		if tt.want == "" {
			want = []string{"A=1", "B=2"}
		}
		if got := absolute(env); !slices.Equal(got, want) || env[1] != tt.in {
			t.Errorf("%s: got %q, want %q", tt.in, got, want)
		}
	}
}
