package runtimetest

import (
	_ "embed"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/testpython"
	"github.com/mitogen-go/mitogen/pyvalue"
)

// loadable are the modules of the runtime that run in a context.
var loadable = []string{"_mitogen_spawn", "_mitogen_tunnel", "_mitogen_ansible", "_mitogen_forward",
	"_mitogen_guard", "_mitogen_values", "_mitogen_files", "_mitogen_run", "_mitogen_asking",
	"_mitogen_keep", "_mitogen_native", "_mitogen_session", "_mitogen_lacks",
	"_mitogen_fork", "_mitogen_sockets", "_mitogen_fan", "_mitogen_go", "mitogen"}

// elsewhere are modules that know nothing of the core.
var elsewhere = []string{"_mitogen_get", "_mitogen_put", "_mitogen_syncget", "_mitogen_syncput",
	"_mitogen_paths", "_mitogen_worker", "_mitogen_program", "_mitogen_repl", "_mitogen_serial",
	"_mitogen_served", "mitogo"}

// orders is a program that loads modules in orders, and exercises what they have registered.
//
//go:embed testdata/orders.py
var orders string

// pairs returns all orders of two modules.
func pairs() (all []string) {
	for _, a := range loadable {
		for _, b := range loadable {
			if a != b {
				all = append(all, a+" "+b)
			}
		}
	}
	return all
}

// shuffled returns the modules in an order that is drawn.
func shuffled(rng *rand.Rand) string {
	order := slices.Clone(loadable)
	rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	return strings.Join(order, " ")
}

// TestModulesInAnyOrder loads the modules of the runtime in pairs and as a whole, in many orders;
// all pairs with MITOGEN_SOAK, else some. Each handle, timer, function at the end and list of work
// has to stay its owner's, and to do what it is for.
func TestModulesInAnyOrder(t *testing.T) {
	for _, name := range boot.Modules() {
		if !slices.Contains(loadable, name) && !slices.Contains(elsewhere, name) {
			t.Errorf("%s is neither loadable nor elsewhere", name)
		}
	}
	rng := testpython.Draw(t.Name())
	all, whole := pairs(), 4
	if testpython.All() {
		whole = 60
	} else {
		rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		all = all[:20]
	}
	reversed := slices.Clone(loadable)
	slices.Reverse(reversed)
	all = append(all, strings.Join(loadable, " "), strings.Join(reversed, " "))
	for range whole {
		all = append(all, shuffled(rng))
	}
	each(t, func(t *testing.T, py interp) {
		l := start(t, py)
		for _, name := range loadable {
			l.push(first, name)
		}
		for some := range slices.Chunk(all, 20) {
			source := fmt.Sprintf("%s\nresult = run(%q.split(','))\n", orders, strings.Join(some, ","))
			for _, wrong := range l.call("rt:execute", source).value().(*pyvalue.List).Items {
				t.Errorf("loaded in the order %v", wrong)
			}
		}
	})
}
