package machine

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// Info says what was measured on. Figures of one kind of machine say little about another.
type Info struct {
	CPUs   int    `json:"cpus"`
	Model  string `json:"model"`
	Memory int64  `json:"memory_bytes"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
}

// Describe looks at this machine. What cannot be found out is left empty.
func Describe() Info {
	i := Info{CPUs: runtime.NumCPU(), Go: runtime.Version()}
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		i.Model = field(info, "model name")
	}
	if info, err := os.ReadFile("/proc/meminfo"); err == nil {
		kb, _ := strconv.ParseInt(strings.TrimSuffix(field(info, "MemTotal"), " kB"), 10, 64)
		i.Memory = kb << 10
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		i.Kernel = strings.TrimSpace(string(release))
	}
	return i
}

// field is the value of the first line "name : value".
func field(text []byte, name string) string {
	for line := range bytes.Lines(text) {
		key, value, found := bytes.Cut(line, []byte(":"))
		if found && string(bytes.TrimSpace(key)) == name {
			return string(bytes.TrimSpace(value))
		}
	}
	return ""
}

// Same reports whether figures of the two can be compared.
func (i Info) Same(other Info) bool { return i.CPUs == other.CPUs && i.Model == other.Model }

// Short is the machine in a few words.
func (i Info) Short() string {
	return fmt.Sprintf("%d × %s, %.0f GB", i.CPUs, i.Model, float64(i.Memory)/1e9)
}
