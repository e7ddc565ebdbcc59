//go:build !amd64

package putbody

// decode decodes groups of four characters of the alphabet to three bytes each, up to the first group that has another character.
// It returns how many characters it has read.
func decode(dst, src []byte) int {
	return decodeScalar(dst, src)
}
