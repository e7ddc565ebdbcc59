package service

import (
	"os"
	"runtime/debug"
)

// BoundMemory has the collector run when the memory that a service needs is full, and not each time that what little it keeps
// has doubled: nearly all that a sink has in memory was sent already. GOMEMLIMIT and GOGC, where set, are left alone. It is for
// programs that run that service alone.
func BoundMemory(needs int64) {
	if os.Getenv("GOMEMLIMIT") != "" || os.Getenv("GOGC") != "" {
		return
	}
	debug.SetMemoryLimit(needs)
	debug.SetGCPercent(400)
}
