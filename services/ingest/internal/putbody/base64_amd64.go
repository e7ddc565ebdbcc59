package putbody

import "golang.org/x/sys/cpu"

// block is how many bytes decodeAVX2 reads and writes at a time.
const block = 32

// decode decodes groups of four characters of the alphabet to three bytes each, up to the first group that has another character.
// It returns how many characters it has read, and may write anything to what dst has beyond their bytes.
func decode(dst, src []byte) int {
	n := 0
	if cpu.X86.HasAVX2 {
		n = decodeAVX2(dst, src)
		if len(src)-n >= block && len(dst)-n/4*3 >= block {
			return n
		}
	}
	return n + decodeScalar(dst[n/4*3:], src[n:])
}

// decodeAVX2 is decode, but for that it also ends where less than a block is left of src or dst.
//
//go:noescape
func decodeAVX2(dst, src []byte) int
