package putbody

// decodeScalar is decode for any processor.
func decodeScalar(dst, src []byte) int {
	n := 0
	for ; len(src) >= 4 && len(dst) >= 3; n += 4 {
		a, b, c, d := values[src[0]], values[src[1]], values[src[2]], values[src[3]]
		if a|b|c|d > 63 {
			break
		}
		dst[0], dst[1], dst[2] = a<<2|b>>4, b<<4|c>>2, c<<6|d
		dst, src = dst[3:], src[4:]
	}
	return n
}

// decodePadded decodes a group with one or two characters of padding, and returns how many bytes it has written. Bits that no byte
// is made of are ignored, as the package base64 does.
func decodePadded(dst, src []byte) (n int, ok bool) {
	a, b, c := values[src[0]], values[src[1]], values[src[2]]
	if a|b > 63 || src[3] != '=' {
		return 0, false
	}
	dst[0] = a<<2 | b>>4
	if src[2] == '=' {
		return 1, true
	}
	if c > 63 {
		return 0, false
	}
	dst[1] = b<<4 | c>>2
	return 2, true
}

// values has the six bits that each byte stands for, and more than six for those outside of the alphabet.
const values = none + none + // control characters
	"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x3e\xff\xff\xff\x3f" + // + and /
	"\x34\x35\x36\x37\x38\x39\x3a\x3b\x3c\x3d\xff\xff\xff\xff\xff\xff" + // digits
	"\xff\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e" + // capital letters
	"\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\xff\xff\xff\xff\xff" +
	"\xff\x1a\x1b\x1c\x1d\x1e\x1f\x20\x21\x22\x23\x24\x25\x26\x27\x28" + // small letters
	"\x29\x2a\x2b\x2c\x2d\x2e\x2f\x30\x31\x32\x33\xff\xff\xff\xff\xff" +
	none + none + none + none + none + none + none + none // not ASCII

const none = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
