package ownfile

import (
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// attributeRecord has extended attributes as they are sent: names and values by turns.
func attributeRecord(all ...string) []byte {
	var b []byte
	for i := 0; i < len(all); i += 2 {
		b = slices.Concat(b, named(all[i]), u32(uint32(len(all[i+1]))), []byte(all[i+1]))
	}
	return record(kindXattrs, b)
}

// A hostile peer can give files attributes of the user alone, within bounds.
func TestHostileXattrs(t *testing.T) {
	long := strings.Repeat("v", maxXattr+1)
	var many []string
	for i := range 400 {
		many = append(many, userXattr+strings.Repeat("n", 200)+string(rune('0'+i)), "")
	}
	for name, tt := range map[string]struct {
		b    []byte
		ends bool
	}{
		"none":           {attributeRecord(), false},
		"some":           {attributeRecord("user.a", "1", "user.b", ""), false},
		"the longest":    {attributeRecord("user.a", long[1:]), false},
		"too long":       {attributeRecord("user.a", long), true},
		"a capability":   {attributeRecord("security.capability", "x"), true},
		"an ACL":         {attributeRecord("system.posix_acl_access", "x"), true},
		"a trusted one":  {attributeRecord("trusted.overlay.opaque", "y"), true},
		"no name":        {attributeRecord("user.", "x"), true},
		"a zero byte":    {attributeRecord("user.a\x00b", "x"), true},
		"a long name":    {attributeRecord("user."+strings.Repeat("n", maxName), "x"), true},
		"twice":          {attributeRecord("user.a", "1", "user.a", "2"), true},
		"no value":       {record(kindXattrs, named("user.a")), true},
		"a short value":  {record(kindXattrs, named("user.a"), u32(3), []byte("x")), true},
		"a huge value":   {record(kindXattrs, named("user.a"), u32(1<<32-1)), true},
		"many names":     {attributeRecord(many...), true},
		"a short record": {record(kindXattrs, []byte{0}), true},
	} {
		r := SyncReceiver{}
		r.Flags = Xattrs
		root := ground(t)
		before := listing(t, root)
		_, err := syncGet(t, r, root, tt.b, record(kindAsked), done)
		if errors.Is(err, ErrFormat) != tt.ends || err != nil != tt.ends {
			t.Errorf("%s: got %v, want that it ends: %v", name, err, tt.ends)
		}
		if after := listing(t, root); after != before {
			t.Errorf("%s: got\n%swant, as before,\n%s", name, after, before)
		}
	}
	_, err := syncGet(t, SyncReceiver{}, ground(t), attributeRecord("user.a", "1"))
	if !errors.Is(err, ErrFormat) {
		t.Errorf("not asked for: got %v, want %v", err, ErrFormat)
	}
}

// What is sent of attributes is what is read.
func TestXattrRecords(t *testing.T) {
	for _, x := range []xattrs{{}, {"user.a": ""}, {"user.a": "1", "user.\xff": "\x00\n"}} {
		got, err := parseXattrs(x.append(nil))
		if err != nil || !maps.Equal(got, x) {
			t.Errorf("got %q, %v, want %q", got, err, x)
		}
	}
}

// An old Python has no extended attributes: one line says so, and nothing is copied.
func TestXattrsOfOldPythons(t *testing.T) {
	const without = "import os\nif hasattr(os, 'listxattr'): del os.listxattr"
	for _, module := range []string{"syncput", "syncget"} {
		kind, root := byte(kindSyncPut), t.TempDir()
		if module == "syncget" {
			kind = kindSyncGet
		}
		inPython(t, module, without, root, func(got []string) {
			if len(got) != 2 || !strings.Contains(got[0], "dest\x00this Python has no extended attributes") {
				t.Errorf("%s: got answers %q, want one failure, and the end", module, got)
			}
			if made, err := os.ReadDir(root); err != nil || len(made) > 0 {
				t.Errorf("%s: got %v, %v, want nothing made", module, made, err)
			}
		}, begun(kind, Preserve|Xattrs, "dest"), dir("top"), done)
	}
}

// A file with more attributes than a record holds is left out by either side, and no more of them
// are read.
func TestManyXattrs(t *testing.T) {
	const many = `import os
def names(at, **how): return ['user.%d' % i for i in range(1000)]
def value(at, name, **how):
    READ.append(name)
    if len(READ) > 20: raise MemoryError('read on')
    return ZEROS
READ = []
os.listxattr, os.getxattr = names, value
if not hasattr(os, 'fsencode'): os.fsencode = str`
	inPython(t, "syncget", many, t.TempDir(), func(got []string) {
		if len(got) != 3 || !strings.Contains(got[0], "more than 1 MiB") {
			t.Errorf("got %.500q, want one failure, and the end", got)
		}
	}, begun(kindSyncGet, Preserve|Xattrs, "."), done)
	names, read := strings.Repeat("user.x\x00", 1000), 0
	_, err := collect(false, func(b []byte) (int, error) {
		copy(b, names)
		return len(names), nil
	}, func(_ string, b []byte) (int, error) {
		read++
		return len(b), nil
	})
	if err != errXattrs || read > 20 {
		t.Errorf("got %v after %d values, want %v at once", err, read, errXattrs)
	}
}
