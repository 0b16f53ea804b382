package modules

import "testing"

// A name that is no path of a file system is found nowhere, and looked for once.
func TestMountsOfNoPath(t *testing.T) {
	for _, name := range []string{"/METADATA", "/", "//x", "../x", ""} {
		if d, inside := (mounts{"a": {}}).resolve(name); d != nil {
			t.Errorf("%q: got %v, %q, want nothing", name, d, inside)
		}
	}
}
