package putbody

import "golang.org/x/sys/cpu"

// decode decodes groups of four characters of the alphabet up to the first group that has another character. It returns how many
// characters it read, and may write anything to all of dst beyond what it has decoded.
func decode(dst, src []byte) int {
	n := 0
	if cpu.X86.HasAVX2 {
		n = decodeAVX2(dst, src)
	}
	return n + decodeScalar(dst[n/4*3:], src[n:])
}

// decodeAVX2 is decode with two limits: it ends where less than 32 bytes are left of src or of dst.
//
//go:noescape
func decodeAVX2(dst, src []byte) int
