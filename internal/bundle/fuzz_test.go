package bundle

import (
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// FuzzBook checks that whatever contexts answer, a bundle goes to contexts that were to have it,
// once from each place.
func FuzzBook(f *testing.F) {
	f.Add([]byte{0, 1, 0, 2, 1, 1, 1, 2, 2, 1, 3, 1, 2, 4, 2}, "p\x00m")
	f.Add([]byte{1, 1, 2, 1, 1, 2, 2, 2, 3, 1, 2, 3, 1, 2, 5, 2, 3, 1, 2}, "p")
	f.Add([]byte{1, 3, 4, 3, 2, 3, 5, 1, 1, 2}, "\x00..\x00p.p")
	f.Fuzz(func(t *testing.T, ops []byte, names string) {
		b := New()
		for i, parent := range []wire.ContextID{0, 1, 2, 1} {
			b.Add(wire.ContextID(i+1), parent)
		}
		lacks := strings.Split(names, "\x00")
		ids := []ID{{}}
		sent := 0
		for ; len(ops) >= 2; ops = ops[2:] {
			ctx := wire.ContextID(ops[1] % 5)
			var out []Action
			switch ops[0] % 6 {
			case 0:
				out = b.Want(ctx, versions("one"))
			case 1:
				out = b.Want(ctx, versions("two"))
			case 2:
				out = b.Lacks(ctx, lacks[:min(len(lacks), int(ops[1]/5))])
			case 3:
				out = b.Dropped(ctx, ids[int(ops[1])%len(ids)], wire.ContextID(ops[1]/5%5))
			case 4:
				out = b.asked(ctx, "p", versions("one"))
			case 5:
				if ctx > 2 {
					b.Gone(ctx)
				}
			}
			for _, a := range out {
				if b.contexts[a.Ctx] == nil {
					t.Fatalf("something for %d, which is gone", a.Ctx)
				}
				if a.Bundle != nil {
					ids = append(ids, a.Bundle.ID)
					sent++
				}
			}
		}
		if most := 4 * 3 * (1 + len(ids)); sent > most {
			t.Fatalf("%d bundles were sent", sent)
		}
	})
}
