// Package pyfront holds no code: its tests run the Python package
// mitogo (pyapi/), as its users would.
package pyfront
