package hostile_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/boot"
)

// removeAll makes a tree 10 levels deep, removes it with more and more files that may be open, and
// says of each attempt what came of it.
const removeAll = `
import resource

def tree():
    path = top
    for i in range(10):
        os.mkdir(path)
        os.close(os.open(path + '/file'.encode(), os.O_CREAT | os.O_WRONLY))
        path = path + '/below'.encode()

top = getattr(os, 'fsencode', str)(sys.argv[1])
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
tree()
for spare in range(16):
    resource.setrlimit(resource.RLIMIT_NOFILE, (3 + spare, hard))
    try:
        try:
            remove(top)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    except OSError:
        print('%d %s' % (spare, sys.exc_info()[1]))
    if not os.path.exists(top):
        print('gone')
        tree()
`

// What can't be removed stays, which is no error: also where it can't even be listed.
func TestRemoveWithFewFiles(t *testing.T) {
	paths, ok := boot.Module("_mitogen_paths")
	if !ok {
		t.Fatal("the runtime has no module _mitogen_paths")
	}
	for _, python := range pythons() {
		t.Run(python.Name(), func(t *testing.T) {
			top := t.TempDir() + "/top"
			out, err := exec.Command(python.Path, "-c", string(paths)+removeAll, top).CombinedOutput()
			if lines := strings.Fields(string(out)); err != nil || len(lines) == 0 ||
				strings.Trim(string(out), "gone\n") != "" {
				t.Errorf("removing with few files: got %v and\n%s\nwant no error, and the tree gone in the end",
					err, out)
			}
		})
	}
}
