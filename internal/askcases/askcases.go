// Package askcases has cases of who may be told a password, for tests: the engine (internal/spawn)
// and the runtime (python/asking.py) judge them alike.
package askcases

import "strings"

// Askers are the programs that ask.
var Askers = []string{"sudo", "su", "doas", "sudo-rs", "su-rs", "busybox", "toybox"}

// Lasting is for how many seconds a doubt has to last.
const Lasting = 0.5

// An Identity is real and effective user, real group, and supplementary groups.
type Identity struct {
	RUID, EUID, RGID int
	Groups           string
}

var (
	user = Identity{1000, 1000, 100, "4 100"}
	root = Identity{0, 0, 0, "0"}
)

// Rights are cases of what a process is to us: Want is "own", "root" or "".
var Rights = []struct {
	Name   string
	Us, It Identity
	Setuid bool // its file is root's, and gives root's rights
	Want   string
}{
	{"a script in place of sudo", user, user, false, "own"},
	{"sudo, su, doas", user, Identity{1000, 0, 100, "4 100"}, false, "root"},
	{"root wholly", user, Identity{0, 0, 100, "4 100"}, false, "root"},
	{"with another group of ours", user, Identity{1000, 0, 4, "4 100"}, false, "root"},
	{"the entered account", user, Identity{1001, 1001, 100, "4 100"}, false, ""},
	{"its su", user, Identity{1001, 0, 100, "4 100"}, false, ""},
	{"its sudo, root wholly, of another group", user, Identity{0, 0, 101, "4 100"}, false, ""},
	{"its sudo, root wholly, of fewer groups", user, Identity{0, 0, 100, "100"}, false, ""},
	{"its sudo, root wholly, of more groups", user, Identity{0, 0, 100, "4 100 101"}, false, ""},
	{"its sudo, root wholly, by newgrp", user, Identity{0, 0, 100, "100 101"}, false, ""},
	{"its sudo, root wholly, of none", user, Identity{0, 0, 100, ""}, false, ""},
	{"its program with our rights", user, Identity{1001, 1000, 101, "101"}, false, ""},
	{"a command of root's", user, root, false, ""},
	{"root's, with another's rights", user, Identity{0, 1001, 100, "4 100"}, false, ""},
	{"no groups", Identity{1000, 1000, 100, ""}, Identity{0, 0, 100, ""}, false, "root"},
	{"by root: a script", root, root, false, "own"},
	{"by root: su", root, root, true, "root"},
	{"by root: the entered account", root, Identity{1001, 1001, 1001, "1001"}, false, ""},
	{"by root: its su", root, Identity{1001, 0, 1001, "1001"}, true, ""},
	{"by root: its sudo, root wholly", root, Identity{0, 0, 1001, "1001"}, true, ""},
	{"by root: its sudo, in root's group", root, Identity{0, 0, 0, "0 27"}, true, ""},
	{"by root: its su, in root's groups", root, Identity{1001, 0, 0, "0"}, true, ""},
	{"by root: what it starts", root, Identity{1001, 0, 1001, "1001"}, false, ""},
	{"by root: what that starts, root wholly", root, Identity{0, 0, 1001, "1001"}, false, ""},
}

// A Process is one of a tree. Flags are words: own, root, ended, waited, reading, passing.
type Process struct {
	Name, Flags string
	Children    []int
}

// Names are the programs that ask in Trees, as a plan has them.
var Names = []string{"sudo", "su", "doas", "a-program-of-21-bytes"}

// Trees are cases of process tables. Process 1 was started by us. Want is quiet, begun,
// perhaps or asks.
var Trees = []struct {
	Name string
	All  map[int]Process
	Want string
}{
	{"asks", one("sudo", "root"), "asks"},
	{"asks, behind a script", behind(Process{"su", "root", nil}), "asks"},
	{"asks, behind a script of many",
		behind(Process{"cat", "own", nil}, Process{"doas", "root", nil}), "asks"},
	{"has had helpers, and reads", one("sudo", "root waited reading"), "asks"},
	{"has had helpers, reads and catches SIGTERM", one("sudo", "root waited reading passing"), "asks"},
	{"no helpers yet, and catches SIGTERM", one("sudo", "root passing"), "asks"},
	{"its command may have ended", one("su", "root waited"), "perhaps"},
	{"its command has ended", one("sudo", "root waited passing"), "begun"},
	{"behind a script, its command has ended",
		behind(Process{"su", "root waited passing", nil}), "begun"},
	{"has started its command", sudoOf("sh", ""), "begun"},
	{"has started one of root's", sudoOf("sudo", "root"), "begun"},
	{"has started ours", sudoOf("sh", "own"), "begun"},
	{"has become its command", one("python3", ""), "begun"},
	{"has become a command of root's", one("python3", "root"), "begun"},
	{"has become ours", one("sudo", "own"), "quiet"},
	{"has become another account's sudo", one("sudo", ""), "begun"},
	{"another account's sudo behind a script", behind(Process{"sudo", "", nil}), "begun"},
	{"has ended", one("sudo", "root ended"), "begun"},
	{"is gone", nil, "begun"},
	{"behind a script, has ended", behind(Process{"su", "root ended", nil}), "quiet"},
	{"behind a script, is gone", map[int]Process{1: {"sh", "own", []int{2}}}, "quiet"},
	{"two that could ask", behind(Process{"su", "root", nil}, Process{"sudo", "root", nil}), "begun"},
	{"one that could ask, and another account",
		behind(Process{"su", "root", nil}, Process{"sh", "", nil}), "begun"},
	{"not started yet", one("sh", "own"), "quiet"},
	{"of another name", one("passwd", "root"), "begun"},
	{"of a long name", one("a-program-of-21", "root"), "asks"},
	{"64 processes", chain(64), "quiet"},
	{"65 processes", chain(65), "begun"},
}

func one(name, flags string) map[int]Process {
	return map[int]Process{1: {name, flags, nil}}
}

// sudoOf is a sudo that has started a command.
func sudoOf(name, flags string) map[int]Process {
	return map[int]Process{1: {"sudo", "root", []int{2}}, 2: {name, flags, nil}}
}

// behind is a script that has started programs.
func behind(started ...Process) map[int]Process {
	script := Process{"sh", "own waited", nil}
	all := map[int]Process{}
	for i, q := range started {
		all[2+i] = q
		script.Children = append(script.Children, 2+i)
	}
	all[1] = script
	return all
}

// chain is n scripts, each started by the one before.
func chain(n int) map[int]Process {
	all := map[int]Process{n: {"sh", "own", nil}}
	for pid := 1; pid < n; pid++ {
		all[pid] = Process{"sh", "own", []int{pid + 1}}
	}
	return all
}

// Status are cases of what the kernel writes of a process. Flags are words: reading, passing.
var Status = []struct {
	Name, Text string
	Identity   Identity
	Flags      string
}{
	{"users and groups", status("1000 0 7 8", "100 4 5 6", "4 100", none, none),
		Identity{1000, 0, 100, "4 100"}, ""},
	{"no groups", status("0 1 2 3", "4 5 6 7", "", none, none),
		Identity{0, 1, 4, ""}, ""},
	{"sudo, readpassphrase", ofRoot(none, "0000000000396a07"),
		Identity{1, 0, 1, "1"}, "reading passing"},
	{"doas", ofRoot(none, "0000000000387007"),
		Identity{1, 0, 1, "1"}, "reading passing"},
	{"only SIGTTIN caught", ofRoot(none, "0000000000100000"),
		Identity{1, 0, 1, "1"}, ""},
	{"sudo, ends a session", ofRoot(none, "0000000000096a07"),
		Identity{1, 0, 1, "1"}, "passing"},
	{"su, at its question", ofRoot("0000000000080000", none),
		Identity{1, 0, 1, "1"}, "reading"},
	{"su, watches a command", ofRoot("fffffffe7ffb9eff", "0000000000006000"),
		Identity{1, 0, 1, "1"}, "passing"},
	{"su, ends a session", ofRoot("fffffffe7ffb9ef9", "0000000000004006"),
		Identity{1, 0, 1, "1"}, "passing"},
	{"doas, ends a session", ofRoot("fffffffe7ff39eff", "0000000000004000"),
		Identity{1, 0, 1, "1"}, "passing"},
	{"one blocked besides", ofRoot("0000000000080001", none),
		Identity{1, 0, 1, "1"}, ""},
}

const none = "0000000000000000" // no signals

func ofRoot(blocked, caught string) string {
	return status("1 0 0 0", "1 1 1 1", "1", blocked, caught)
}

func status(uid, gid, groups, blocked, caught string) string {
	tabs := strings.NewReplacer(" ", "\t")
	return "Name:\tsu\nUid:\t" + tabs.Replace(uid) + "\nGid:\t" + tabs.Replace(gid) +
		"\nGroups:\t" + groups + " \nSigBlk:\t" + blocked + "\nSigCgt:\t" + caught + "\n"
}

// PS are cases of what ps prints: with real users and groups, or without. All that it lists has
// waited for its children.
var PS = []struct {
	Name, Text string
	Full       bool
	Us         Identity
	Want       map[int]Process
}{
	{"ours, root's, ended, of two words",
		"  10 1 1000 1000 100 Ss sh\n 11 10 0 1000 100 S+ /usr/bin/su\n 12 11 0 1000 100 Z <defunct>\n" +
			" 13 1 0 0 0 S a b\nnonsense\n", true, Identity{1000, 1000, 100, ""}, map[int]Process{
			10: {"sh", "own waited", []int{11}}, 11: {"su", "root waited", []int{12}},
			12: {"<defunct>", "root waited ended", nil}, 13: {"a b", "waited", nil}}},
	{"without real ones",
		"10 1 1000 Ss sh\n11 10 0 S+ /usr/bin/su\n12 11 0 Z <defunct>\n13 1 5 S a b\nnonsense\n1 1 1 S\n",
		false, Identity{1000, 1000, 100, ""}, map[int]Process{
			10: {"sh", "own waited", []int{11}}, 11: {"su", "root waited", []int{12}},
			12: {"<defunct>", "root waited ended", nil}, 13: {"a b", "waited", nil}}},
	{"another account's", "10 1 0 1001 101 S su\n11 1 0 0 101 S sudo\n12 1 1000 1001 101 S sh\n", true,
		Identity{1000, 1000, 100, ""}, map[int]Process{
			10: {"su", "waited", nil}, 11: {"sudo", "waited", nil}, 12: {"sh", "waited", nil}}},
	{"root wholly, in our group", "10 1 0 0 100 S sudo\n", true,
		Identity{1000, 1000, 100, ""}, map[int]Process{10: {"sudo", "root waited", nil}}},
	{"by root: nothing asks", "11 1 0 0 0 S su\n12 11 0 1001 1001 S su\n", true,
		Identity{0, 0, 0, ""}, map[int]Process{
			11: {"su", "own waited", []int{12}}, 12: {"su", "waited", nil}}},
	{"by root, without real ones", "11 1 0 S su\n12 11 1001 S su\n", false,
		Identity{0, 0, 0, ""}, map[int]Process{
			11: {"su", "own waited", []int{12}}, 12: {"su", "waited", nil}}},
}
