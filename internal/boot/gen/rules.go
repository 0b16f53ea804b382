package main

import (
	"strings"

	"github.com/mitogen-go/mitogen/internal/pylink"
)

// core is the module that the image is made of. Tracebacks have its name as its file's.
const core = "_mitogen"

// modules are those of boot.Module, by the names they are imported by, and the core. A module
// is made of several sources, in their order, so that it costs one message.
var modules = []pylink.Module{
	{Name: core, Sources: []string{
		"core/compat.py", "core/constants.py", "core/state.py", "core/descriptors.py",
		"core/atomic.py", "core/streams.py", "core/reader.py", "core/output.py", "core/dispatch.py",
		"core/handlers.py", "core/plain.py", "core/calls.py", "core/serving.py", "core/ending.py",
		"core/modules.py", "core/importer.py", "core/log.py", "core/tables.py", "core/start.py",
		"core/main.py",
	}, Shared: true},
	{Name: "_mitogen_ansible", Sources: []string{"paths.py", "watch.py", "job.py", "payload.py",
		"module.py", "ansible.py"}, Shared: true},
	{Name: "_mitogen_asking", Sources: []string{"asking.py"}, Shared: true},
	{Name: "_mitogen_fan", Sources: []string{"fan.py"}, Shared: true},
	{Name: "_mitogen_files", Sources: []string{"files_ask.py", "files_index.py",
		"files_content.py", "files.py", "places.py"}},
	{Name: "_mitogen_fork", Sources: []string{"fork.py"}, Shared: true},
	{Name: "_mitogen_forward", Sources: []string{"forward.py"}, Shared: true},
	{Name: "_mitogen_get", Sources: []string{"copy_records.py", "copy_status.py", "copy_get.py",
		"copy_serve.py"}},
	{Name: "_mitogen_guard", Sources: []string{"process.py", "execute.py", "guard.py"}, Shared: true},
	{Name: "_mitogen_lacks", Sources: []string{"lacks.py"}, Shared: true},
	{Name: "_mitogen_go", Sources: []string{"memory.py", "golang.py"}, Shared: true},
	{Name: "_mitogen_keep", Sources: []string{"keep.py"}},
	{Name: "_mitogen_native", Sources: []string{"memory.py", "native.py"}, Shared: true},
	{Name: "_mitogen_paths", Sources: []string{"paths.py", "replace.py"}},
	{Name: "_mitogen_program", Sources: []string{"program.py"}},
	{Name: "_mitogen_put", Sources: []string{"copy_records.py", "copy_put.py", "copy_serve.py"}},
	{Name: "_mitogen_repl", Sources: []string{"repl.py"}},
	{Name: "_mitogen_run", Sources: []string{"process.py", "run_relay.py", "run_copy.py", "run.py"}},
	{Name: "_mitogen_serial", Sources: []string{"serial.py"}},
	{Name: "_mitogen_served", Sources: []string{"served.py"}},
	{Name: "_mitogen_session", Sources: []string{"feed.py", "session.py"}, Shared: true},
	{Name: "_mitogen_sockets", Sources: []string{"sockets_stream.py", "sockets_private.py",
		"sockets_listen.py", "sockets.py"}, Shared: true},
	{Name: "_mitogen_spawn", Sources: []string{"process.py", "execute.py", "child_start.py",
		"child.py", "spawn.py"}, Shared: true},
	{Name: "_mitogen_syncget", Sources: []string{"copy_records.py", "copy_status.py", "copy_get.py",
		"copy_sync.py", "copy_syncget.py", "copy_serve.py"}},
	{Name: "_mitogen_syncput", Sources: []string{"copy_records.py", "copy_status.py", "copy_put.py",
		"copy_sync.py", "copy_syncput.py", "copy_serve.py"}},
	{Name: "_mitogen_tunnel", Sources: []string{"feed.py", "tunnel.py"}, Shared: true},
	{Name: "_mitogen_values", Sources: []string{"values.py"}, Shared: true},
	{Name: "_mitogen_worker", Sources: []string{"worker.py"}},
	{Name: "mitogen", Sources: []string{"mitogen.py"}},
	{Name: "mitogo", Sources: []string{"mitogo.py"}},
}

// rules say which names of the runtime stay.
var rules = pylink.Rules{
	// What the head sets (boot.go), and what tests and a benchmark read that no linker sees.
	Keep: strings.Fields("C IMAGE AHEAD NAME PARENTS OPEN ANNOUNCED COMPLETE"),

	// Bounds that tests change.
	Tunable: strings.Fields("PATIENCE QUEUE_LIMIT WORK_LIMIT KEEP LIMIT"),

	Often: []string{"core/", "process.py", "child_start.py", "child.py", "spawn.py", "forward.py",
		"guard.py"},

	// What the import system, loaders of other libraries, logging and subprocess call.
	Methods: strings.Fields(`find_spec find_module load_module create_module exec_module get_code
		get_source get_filename is_package get_data get_resource_reader iter_modules find_distributions
		discover emit configure steady_poll fork_exec served_data call`),

	// A key of what a worker is given (worker.py).
	Strings: strings.Fields("CHANNEL"),

	// What objects of the runtime's classes have, and no object of Python's that the runtime uses
	// (TestAttributesAreOurs).
	Attributes: strings.Fields(`
		plan started current gone out heard rest typing tty nowhere payloads waits launched
		screen leaving err offences patience since blocked printed reached calls reply watch
		idle queued converse buf pieces guarding locked_flush carried fds arrived spoke sent
		looked put_first offend caused last crit overfull offended have noise src again slave
		written listens look_for_start read_on foreign inputs late most lost turn talked want
		got said drain above first hold_back reap fill beat missing on_tty local2 on_err launch
		take mine`),

	Registries: []pylink.Registry{
		{Name: "HANDLERS", Table: true, Giver: "register", First: 1000, Last: 1<<30 - 1}, // of frames
		{Name: "PASSES", Table: true},   // what is done with frames on their way down
		{Name: "SERVICES", Table: true}, // of OPEN
		{Name: "HOOKABLE", Table: true}, // modules of Python's that are changed when they are imported
		{Name: "DUE"},                   // timers
		{Name: "LEAVE"},                 // what is done at the orderly end
		{Name: "USES"},                  // what keeps a context busy
		{Name: "TABLES"},                // what a program's process begins without
		{Name: "COMES"},                 // what takes bundles in
	},
}
