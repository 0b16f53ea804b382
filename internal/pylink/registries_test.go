package pylink

import (
	"strings"
	"testing"
)

// base is a core with a table of handlers, a list of timers and a function that gives out handles.
const base = `CALL, CREDIT, OPEN = range(1, 4)
HANDLERS = {CALL: on_call,
            CREDIT: on_credit}
SERVICES = {}
DUE = [lambda: 1]
LEAVE = []
def register(fn):
    HANDLERS[next(NUMBERS)] = fn
def later(module, table, key):
    table[key] = module
def close():
    pass
`

var registries = []Registry{
	{Name: "HANDLERS", Table: true, Giver: "register", First: 1000, Last: 9999},
	{Name: "SERVICES", Table: true}, {Name: "DUE"}, {Name: "LEAVE"},
}

// registered links sources: a core of base and more, the modules one and two in its namespace, own
// in one of its own, and part, which belongs to the modules one and two.
func registered(more, one, two, own, part string) error {
	sources := map[string]string{"core.py": base + more, "one.py": one, "two.py": two, "own.py": own,
		"part.py": part}
	modules := []Module{{"_mitogen", []string{"core.py"}, true},
		{"_mitogen_one", []string{"part.py", "one.py"}, true},
		{"_mitogen_two", []string{"part.py", "two.py"}, true},
		{"_mitogen_own", []string{"own.py"}, false}}
	_, err := Link(modules, Rules{Registries: registries, Strings: []string{"CALL"}},
		func(name string) ([]byte, error) { return []byte(sources[name]), nil })
	return err
}

const asCore = "import _mitogen as core\n"

// What two sources put into one place of a registry is refused, and both are named.
func TestRegistriesRefuseWhatIsTaken(t *testing.T) {
	for _, tt := range []struct{ name, more, one, two, own, want string }{
		{"a handle of the core's", "", "HANDLERS[CALL] = f\n", "", "",
			"one.py:1: HANDLERS[1] is taken: core.py:2 has it"},
		{"a handle in the literal's second line", "", "HANDLERS[CREDIT] = f\n", "", "",
			"one.py:1: HANDLERS[2] is taken: core.py:3 has it"},
		{"a handle of two modules", "", "\nHANDLERS[OPEN] = f\n", "HANDLERS[OPEN] = g\n", "",
			"two.py:1: HANDLERS[3] is taken: one.py:2 has it"},
		{"a number and its name", "", "HANDLERS[OPEN] = f\n", "HANDLERS[0x3] = g\n", "",
			"two.py:1: HANDLERS[3] is taken: one.py:1 has it"},
		{"an update", "", "HANDLERS.update({7: f,\n    8: g})\n", "HANDLERS[8] = g\n", "",
			"two.py:1: HANDLERS[8] is taken: one.py:2 has it"},
		{"an update that can't be read", "", "HANDLERS.update(dict(more))\n", "", "",
			"one.py:1: HANDLERS.update(dict(more)) changes what core.py:2 has put there"},
		{"from a namespace of its own", "", "HANDLERS[OPEN] = f\n", "",
			asCore + "core.HANDLERS[core.OPEN] = f\n",
			"own.py:2: HANDLERS[3] is taken: one.py:1 has it"},
		{"by an import of the table", "", "", "",
			"from _mitogen import CALL, HANDLERS\nHANDLERS[CALL] = f\n",
			"own.py:2: HANDLERS[1] is taken: core.py:2 has it"},
		{"in a function", "", "def f():\n    HANDLERS[CALL] = f\n", "", "",
			"one.py:2: HANDLERS[1] is taken: core.py:2 has it"},
		{"in a loop", "", "for n in (7, OPEN):\n    HANDLERS[n] = f\n", "HANDLERS[3] = f\n", "",
			"two.py:1: HANDLERS[3] is taken: one.py:2 has it"},
		{"in a loop over numbers", "", "for n in range(5, 8): HANDLERS[n] = f\n",
			"HANDLERS[7] = f\n", "", "two.py:1: HANDLERS[7] is taken: one.py:1 has it"},
		{"in a condition", "", "if 1: HANDLERS[CALL] = f\n", "", "",
			"one.py:1: HANDLERS[1] is taken: core.py:2 has it"},
		{"several at once", "", "HANDLERS[8] = HANDLERS[9] = f\n", "x, HANDLERS[9] = 1, f\n", "",
			"two.py:1: HANDLERS[9] is taken: one.py:1 has it"},
		{"twice in one source", "", "HANDLERS[8] = f\nHANDLERS[8] = g\n", "", "",
			"one.py:2: HANDLERS[8] is taken: one.py:1 has it"},
		{"what a function gives out", "", "HANDLERS[1000] = f\n", "", "",
			"one.py:1: HANDLERS[1000] is taken: register() of core.py:7 gives out 1000 to 9999"},
		{"a service", "", "SERVICES['ring'] = f\n", "SERVICES[\"ring\"] = g\n", "",
			"two.py:1: SERVICES[ring] is taken: one.py:1 has it"},
		{"a key that can't be read", "", "HANDLERS[f()] = f\n", "", "",
			"one.py:1: HANDLERS[f()]: want a number"},
		{"a removal", "", "def f():\n    del HANDLERS[CALL]\n", "", "",
			"one.py:2: HANDLERS[1] is removed, but core.py:2 has it"},
		{"another removal", "", "def f():\n    HANDLERS.pop(CREDIT, 0)\n", "", "",
			"one.py:2: HANDLERS[2] is removed, but core.py:3 has it"},
		{"a new table", "", "HANDLERS = {}\n", "", "",
			"one.py:1: HANDLERS is assigned, but core.py:2 has made it"},
		{"an empty table", "", "HANDLERS.clear()\n", "", "",
			"one.py:1: HANDLERS.clear() changes what core.py:2 has put there"},

		{"a timer's slot", "", "DUE[0] = f\n", "", "",
			"one.py:1: DUE[0] changes what core.py:5 has put there"},
		{"the slot of a module's timer", "", "DUE.append(f)\n", "DUE[1] = g\n", "",
			"two.py:1: DUE[1] changes what core.py:5 has put there, and one.py:1"},
		{"all timers", "", "DUE.append(f)\n", "DUE[:] = [g]\n", "",
			"two.py:1: DUE[:] changes what core.py:5 has put there, and one.py:1"},
		{"a timer's slot in a function", "", "def f():\n    DUE[-1] = f\n", "", "",
			"one.py:2: DUE[-1] changes what core.py:5 has put there"},
		{"a new list of timers", "", "DUE.append(f)\n", "", asCore + "core.DUE = [f]\n",
			"own.py:2: DUE is assigned, but core.py:5 has made it, and one.py:1"},
		{"the removal of a slot", "", "del DUE[0]\n", "", "",
			"one.py:1: DUE[0] changes what core.py:5 has put there"},
		{"one timer of two modules", "", "DUE.append(tick)\n", "DUE.insert(0, tick)\n", "",
			"two.py:1: the entry tick of DUE is taken: one.py:1 has it"},
		{"one timer twice", "", "DUE.append(tick)\nDUE += [f, tick]\n", "", "",
			"one.py:2: the entry tick of DUE is taken: one.py:1 has it"},
		{"the removal of another's timer", "", "DUE.append(tick)\ndef tick():\n    pass\n", "",
			asCore + "def f():\n    core.DUE.remove(core.tick)\n",
			"own.py:3: the entry tick of DUE is removed, but one.py:1 has it"},

		{"a timer's slot by another name", "", "due = DUE\ndue[0] = f\n", "", "",
			"one.py:1: DUE changes what core.py:5 has put there"},
		{"handlers by an argument's name", "", "def f(table=HANDLERS):\n    table[1] = f\n", "", "",
			"one.py:1: HANDLERS changes what core.py:2 has put there"},
		{"exit hooks by another name", "", "", "", asCore + "x = core.LEAVE; x.pop()\n",
			"own.py:2: core.LEAVE changes what core.py:6 has put there"},

		{"an exit hook of two modules", "", "def bye():\n    pass\nLEAVE.append(bye)\n", "",
			asCore + "core.LEAVE.append(core.bye)\n",
			"own.py:2: the entry bye of LEAVE is taken: one.py:3 has it"},
		{"an exit hook in a tuple", "", "LEAVE += f, bye\n", "LEAVE.extend([bye])\n", "",
			"two.py:1: the entry bye of LEAVE is taken: one.py:1 has it"},
		{"the last exit hook", "", "LEAVE.append(f)\n", "LEAVE.pop()\n", "",
			"two.py:1: LEAVE.pop() changes what core.py:6 has put there, and one.py:1"},
		{"exit hooks by another list", "", "LEAVE.append(f)\n", "LEAVE = [g]\n", "",
			"two.py:1: LEAVE is assigned, but core.py:6 has made it, and one.py:1"},

		{"a replacement of what another has", "", "HANDLERS[OPEN] = f\n",
			"HANDLERS[OPEN] = g     # instead of core.py\n", "",
			"two.py:1: HANDLERS[3] is not core.py's: got owner one.py:1"},
		{"two replacements", "", "HANDLERS[CALL] = f     # instead of core.py\n",
			"HANDLERS[CALL] = g     # instead of core.py\n", "",
			"two.py:1: HANDLERS[1] is taken: one.py:1 replaces it, too"},
		{"a loader of nothing", "later('_mitogen_one', HANDLERS, OPEN)\n", "",
			"HANDLERS[OPEN] = f\n", "",
			"core.py:13: HANDLERS[3] loads _mitogen_one, which doesn't take it: got owner two.py:1"},
		{"two loaders", "later('_mitogen_one', HANDLERS, OPEN)\nlater('_mitogen_two', HANDLERS, OPEN)\n",
			"HANDLERS[OPEN] = f\n", "HANDLERS[OPEN] = g\n", "",
			"two.py:1: HANDLERS[3] is taken: one.py:1 has it"},
	} {
		err := registered(tt.more, tt.one, tt.two, tt.own, "")
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", tt.name, err, tt.want)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got several errors, want one: %v", tt.name, err)
		}
	}
}

// What a source that two modules have registers has two owners.
func TestRegistriesRefusePartsOfTwo(t *testing.T) {
	for part, want := range map[string]string{
		"HANDLERS[OPEN] = f\n":   "part.py:1: HANDLERS[3] has two owners: _mitogen_one and _mitogen_two",
		"\nDUE.append(f)\n":      "part.py:2: the entry f of DUE has two owners",
		"LEAVE.append(f)\n":      "part.py:1: the entry f of LEAVE has two owners",
		"SERVICES['x'] = tick\n": "part.py:1: SERVICES[x] has two owners",
	} {
		err := registered("", "", "", "", part)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", part, err, want)
		}
	}
}

// Modules in the core's namespace have names of their own there.
func TestNamesAreOwned(t *testing.T) {
	for _, tt := range []struct{ name, one, two, own, want string }{
		{"a function of the core", "x = 1\ndef close():\n    pass\n", "", "",
			"one.py:2: the name close is taken: core.py:11 has it"},
		{"a class", "", "class later(object):\n    pass\n", "",
			"two.py:1: the name later is taken: core.py:9 has it"},
		{"a variable of another", "held = []\n", "x, held = 1, 2\n", "",
			"two.py:1: the name held is taken: one.py:1 has it"},
		{"a variable and a function", "held = []\n", "def held():\n    pass\n", "",
			"two.py:1: the name held is taken: one.py:1 has it"},
		{"what is meant", "def close():     # instead of core.py\n    pass\n", "", "", ""},
		{"meant for another", "def close():     # instead of own.py\n    pass\n", "", "",
			"one.py:1: the name close is taken"},
		{"twice in a file", "x = 1\nx = 2\n", "", "", ""},
		{"a method, and a function inside", "class C:\n    def close(self):\n        close = 1\n",
			"def f():\n    def later():\n        pass\n", "", ""},
		{"a namespace of its own", "", "", "def close():\n    pass\n", ""},
	} {
		err := registered("", tt.one, tt.two, tt.own, "")
		if tt.want == "" && err != nil || tt.want != "" && (err == nil ||
			!strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

// A function of the core has one module that replaces it.
func TestFunctionsAreReplacedOnce(t *testing.T) {
	sources := map[string]string{"core.py": base, "a.py": asCore + "core.close = f\n",
		"b.py": asCore + "def f():\n    core.close = core.later = f\n    core.register.calls = 1\n",
		"c.py": asCore + "core.register.calls = core.later(1)\n"}
	_, err := Link([]Module{{"_mitogen", []string{"core.py"}, true},
		{"a", []string{"a.py"}, false}, {"b", []string{"b.py"}, false},
		{"c", []string{"c.py"}, false}}, Rules{},
		func(name string) ([]byte, error) { return []byte(sources[name]), nil })
	want := "b.py:3: close() of the core is taken: a.py:2 replaces it, too"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// What is free, what is read, and what is said to replace another's is linked.
func TestRegistriesTakeWhatIsFree(t *testing.T) {
	for _, tt := range []struct{ more, one, two, own string }{
		{"", "HANDLERS[OPEN] = f\nDUE.append(f)\n", "HANDLERS[4] = f\nDUE.append(g)\n", ""},
		{"later('_mitogen_one', HANDLERS, OPEN)\n", "HANDLERS[OPEN] = f\n", "", ""},
		{"later('_mitogen_one', HANDLERS, OPEN)\n", "later('_mitogen_two', HANDLERS, OPEN)\n",
			"HANDLERS[OPEN] = f\n", ""},
		{"for n in range(OPEN, 5):\n    later('_mitogen_one', HANDLERS, n)\n",
			"HANDLERS.update({OPEN: f, 4: g})\n", "", ""},
		{"", "old = HANDLERS[CALL]\nHANDLERS[CALL] = f     # instead of core.py\n", "", ""},
		{"", "", "", asCore + "def f():\n    core.HANDLERS.pop(core.CALL)     # instead of core.py\n"},
		{"", "x = [f() for f in DUE] + [DUE[0], HANDLERS.get(CALL), HANDLERS[CALL] == 3]\n", "", ""},
		{"", "f(HANDLERS[CALL], key=3)\nx = lambda: HANDLERS[CALL]\nt[HANDLERS[CALL]] = 3\n", "", ""},
		{"", "def f(n):\n    HANDLERS[n] = f\n    del HANDLERS[n]\n", "", ""},
		{"", "def f():\n    soon = 1\n    DUE.append(soon)\n    DUE.remove(soon)\n",
			"def g():\n    soon = 2\n    DUE.append(soon)\n    DUE.remove(soon)\n", ""},
		{"", "DUE.append(lambda: 1)\n", "DUE.append(lambda: 1)\n", ""},
		{"", "def tick():\n    pass\nDUE.append(tick)\n", "",
			asCore + "def tick():\n    pass\ncore.DUE.append(tick)\n"},
		{"", "def f(DUE, HANDLERS):\n    DUE[0] = HANDLERS[1] = 2\n", "",
			"DUE = HANDLERS = {}\nDUE[0] = HANDLERS[1] = 2\n"},
	} {
		if err := registered(tt.more, tt.one, tt.two, tt.own, ""); err != nil {
			t.Errorf("%q: got %v, want no error", tt, err)
		}
	}
}
