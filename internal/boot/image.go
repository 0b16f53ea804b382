package boot

import "embed"

//go:generate go run ./gen

//go:embed image.bin
var image []byte

//go:embed all:modules
var modules embed.FS

// Image returns the runtime (python/core.py), minified and compressed with zlib. Not to be changed.
func Image() []byte { return image }

// Module returns the source of a module that the runtime or programs in a context import: `_mitogen_run`,
// `_mitogen_spawn` and `mitogen`.
func Module(name string) (source []byte, ok bool) {
	b, err := modules.ReadFile("modules/" + name + ".py")
	return b, err == nil
}
