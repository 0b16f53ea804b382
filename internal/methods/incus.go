package methods

// incus has lxd's interface.
var incusMethod = inside("incus", "incus", "container", checkWord, checkUID, execInstance)
