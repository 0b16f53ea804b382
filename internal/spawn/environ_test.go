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
		want := []string{"A=1", tt.want, "B=2", "PYTHONSAFEPATH=1"}
		if tt.want == "" {
			want = slices.Delete(want, 1, 2)
		}
		if got := absolute(env); !slices.Equal(got, want) || env[1] != tt.in {
			t.Errorf("%s: got %q, want %q", tt.in, got, want)
		}
	}
}

func TestRelativePath(t *testing.T) {
	for entry, want := range map[string]string{
		"PYTHONPATH=/a:/b": "", "PYTHONPATH=/a:b": "MITO_PATH=/a:b", "PYTHONPATH=:/a": "MITO_PATH=:/a", "PATH=x": "",
	} {
		if got := relativePath([]string{"A=1", entry}); got != want {
			t.Errorf("%s: got %q, want %q", entry, got, want)
		}
	}
}
