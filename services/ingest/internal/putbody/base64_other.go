//go:build !amd64

package putbody

// decode decodes groups of four characters of the alphabet up to the first group that has another character. It returns how many
// characters it read, and may write anything to all of dst beyond what it has decoded.
func decode(dst, src []byte) int {
	return decodeScalar(dst, src)
}
