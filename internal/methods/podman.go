package methods

// podman has docker's interface.
var (
	podmanMethod    = inside("podman", "podman", "container", checkWord, checkUser, execInside)
	podmanRunMethod = inside("podman-run", "podman", "image", checkPath, checkUser, runImage)
)
