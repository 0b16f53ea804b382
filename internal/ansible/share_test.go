package ansible

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/engine"
	"github.com/mitogen-go/mitogen/internal/pickle"
)

// A file goes to a hop once, for all who are behind it; the hop keeps a bounded amount of them, and
// what it has dropped is sent again.
func TestShare(t *testing.T) {
	eng, err := engine.New(engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close()
	s := NewServer(eng)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var behind []*engine.Context
	for range 2 {
		c, err := eng.Start("local+local", engine.ConnectOptions{Fresh: true})
		if err != nil {
			t.Fatal(err)
		}
		behind = append(behind, c)
	}
	hop := behind[0].Via()
	if hop == nil || behind[1].Via() != hop {
		t.Fatal("they are not behind the same hop")
	}
	others := keeps(t, ctx, hop)
	dir := t.TempDir()
	const size, files = 100_000, 100
	rnd := rand.NewChaCha8([32]byte{2})
	var all [][]byte
	put := func(c *engine.Context, name string, data []byte) {
		t.Helper()
		tun, err := s.files(ctx, &host{login: c}, [][]any{{"put", filepath.Join(dir, name), 0o600, data}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := collect(tun, nil); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, data) {
			t.Fatal(len(got), err)
		}
	}
	for i := range files {
		data := make([]byte, size)
		rnd.Read(data)
		all = append(all, data)
		put(behind[0], fmt.Sprint(i), data)
	}
	up := hop.Stats().BytesDown
	for i := files - 20; i < files; i++ {
		put(behind[1], fmt.Sprint("other", i), all[i])
	}
	if more := hop.Stats().BytesDown - up; more > size {
		t.Errorf("files that the hop has cost %d bytes", more)
	}
	if n := keeps(t, ctx, hop) - others; n > maxKept/size+10 || n < maxKept/size-20 {
		t.Errorf("the hop keeps %d files", n)
	}
	if _, there := s.given[hop].names[fmt.Sprintf("_ansible_file_%x", sha256.Sum256(all[0]))]; there {
		t.Error("the oldest is still there")
	}
	put(behind[1], "again", all[0])

	// The same file for the same host from many sessions at once: each finds what it was sent.
	failed := make(chan error, 500)
	for i := range cap(failed) {
		go func() {
			tun, err := s.files(ctx, &host{login: behind[0]},
				[][]any{{"put", filepath.Join(dir, fmt.Sprint("same", i)), 0o600, all[1][:minShare]}})
			if err == nil {
				_, err = collect(tun, nil)
			}
			failed <- err
		}()
	}
	for range cap(failed) {
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
}

// keeps counts the modules that a hop has, files among them.
func keeps(t *testing.T, ctx context.Context, hop *engine.Context) int {
	t.Helper()
	function := "_mitogen:" + boot.Table().Globals["MODULES"] + ".__len__"
	value, _, err := hop.Calls.Go(ctx, function, nil, nil, false).Result(ctx)
	if err != nil {
		t.Fatal(err)
	}
	v, err := pickle.Decode(value, pickle.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return int(v.(int64))
}
