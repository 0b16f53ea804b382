// Package runtimetest holds the suite that the Python runtime (python/) must pass on every
// interpreter: the tests play the engine with raw frames, so that the runtime is held to
// docs/protocol, and not to whatever the Go engine does. All of it is tests.
//
// on runs a table of tests on each interpreter, in one context as far as they leave it usable. A
// link is a started context with everything behind it; its methods fail the test that it belongs
// to.
package runtimetest
