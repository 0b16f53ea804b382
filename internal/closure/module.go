package closure

import "github.com/mitogen-go/mitogen/internal/pysource"

// Module is what is known about one module.
type Module struct {
	Name, Path string
	Letter     byte // 'm', 'p', 'n' or '-'
	Source     []byte
	Reason     string
	Own        bool
	Info       pysource.Info
	Scanned    bool
	Key        [32]byte
}
