package mitogen

import "testing"

// The destination itself is a source's only if what is in that source goes there.
func TestWanted(t *testing.T) {
	for _, tt := range []struct {
		src, name string
		want      bool
	}{
		{"/etc/hosts", "hosts", true}, {"/etc/hosts", "passwd", false}, {"/etc/hosts", "", false},
		{"/srv", "", false}, {"/srv/.", "", true}, {"/srv/.", "x", true}, {"/", "", true},
		{"/srv/*", "x", true}, {"/srv/*", "", false}, {"/srv/*/.", "", true}, {"..", "", true},
	} {
		if got := wanted([]string{tt.src})(tt.name); got != tt.want {
			t.Errorf("source %q, name %q: got %v, want %v", tt.src, tt.name, got, tt.want)
		}
	}
}
