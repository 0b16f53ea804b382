package connect

// podman has docker's interface.
var (
	podmanMethod    = inside("podman", "podman", "container", checkWord, checkWord, execInside)
	podmanRunMethod = inside("podman-run", "podman", "image", checkPath, checkWord, runImage)
)
