// Package packages has only tests: they try packages of PyPI, installed on the engine's side, in
// contexts that lack them, and write docs/packages.md.
package packages
