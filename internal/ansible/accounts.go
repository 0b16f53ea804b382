package ansible

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mitogen-go/mitogen/internal/lazyregexp"
	"github.com/mitogen-go/mitogen/internal/methods"
)

// A context of an account is a process of that account. Programs that change accounts refuse an
// account that has processes, or its processes go on with the old rights. So its contexts end
// before. With the ssh plugin there are none between tasks.

// changers are programs that change accounts.
var changers = lazyregexp.New(`\b(?:user|group)(?:mod|del)\b|\bdel(?:user|group)\b|\b(?:add|` +
	`ad)user\b|\bchsh\b|\bpw\b|\bvipw\b|\bloginctl\b|\bp?kill(?:all)?\b`)

// farewell ends idle contexts of accounts that a module or a command is about to change on the
// session's host: those that text, its parameters, names. It waits for their end, and for those
// that end already.
func (t *Session) farewell(ctx context.Context, module string, text []byte) {
	if !strings.HasSuffix(module, ".user") && !strings.HasSuffix(module, ".group") &&
		!changers.Match(text) {
		return
	}
	t.s.mu.Lock()
	all := append(t.s.allLocked(), t.s.retired...)
	t.s.mu.Unlock()
	machine := machineOf(t.way)
	for _, h := range all {
		if h.name != t.name && h.machine != machine {
			continue
		}
		for _, user := range h.users() {
			if !mentions(text, user) {
				continue
			}
			if h.leave(user) && h.direct && !t.s.retire(h) {
				continue // its connection is in use, by the login
			}
			h.await(ctx, user)
		}
	}
}

// machineOf returns what is the same for all ways to a machine that differ in accounts only.
func machineOf(w Way) string {
	var b strings.Builder
	for _, x := range w {
		hops, err := methods.ParseTarget(x.Target)
		if err != nil {
			return "" // of which nothing is reached
		}
		for _, h := range hops {
			if !changesAccount[h.Method] {
				fmt.Fprintf(&b, "%s:%q:%d:%d ", h.Method, h.Host, h.Port, x.Options.SSH.Port)
			}
		}
	}
	return b.String()
}

// changesAccount has the methods that lead to another account of the same machine.
var changesAccount = map[string]bool{"sudo": true, "su": true, "doas": true}

// users are the accounts that have leaves, those included that were told to end.
func (h *host) users() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := map[string]bool{}
	for _, l := range slices.AppendSeq(slices.Clone(h.parting), maps.Values(h.leaves)) {
		select {
		case <-l.ready:
			all[l.user] = true
		default:
		}
	}
	return slices.Collect(maps.Keys(all))
}

// mentions tells whether word is in text, and isn't part of a longer name there.
func mentions(text []byte, word string) bool {
	for rest := text; word != ""; {
		at := bytes.Index(rest, []byte(word))
		if at < 0 {
			return false
		}
		end := at + len(word)
		if (at == 0 || !inName(rest[at-1])) && (end == len(rest) || !inName(rest[end])) {
			return true
		}
		rest = rest[end:]
	}
	return false
}

func inName(c byte) bool {
	return c == '_' || c == '-' || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}
