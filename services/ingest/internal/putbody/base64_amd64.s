#include "textflag.h"

// The method is that of Wojciech Muła and Daniel Lemire, "Faster Base64 Encoding and Decoding using AVX2 Instructions" (2018):
// the two halves of a character select a byte of one table each, which have a bit in common if the character is not of the
// alphabet; the upper half selects what turns the character into its six bits.

// Of each lower half: the classes of upper halves with which it is no character of the alphabet.
DATA lower<>+0(SB)/8, $0x1111111111111115
DATA lower<>+8(SB)/8, $0x1a1b1b1b1a131111
GLOBL lower<>(SB), RODATA|NOPTR, $16

// Of each upper half: its class.
DATA upper<>+0(SB)/8, $0x0804080402011010
DATA upper<>+8(SB)/8, $0x1010101010101010
GLOBL upper<>(SB), RODATA|NOPTR, $16

// Of each upper half: what to add to a character, with that of '/' before that of '+'.
DATA offset<>+0(SB)/8, $0xb9b9bfbf04131000
DATA offset<>+8(SB)/8, $0
GLOBL offset<>(SB), RODATA|NOPTR, $16

// The order of the bytes in a lane, of each four: the third, second and first.
DATA order<>+0(SB)/8, $0x090a040506000102
DATA order<>+8(SB)/8, $0x808080800c0d0e08
GLOBL order<>(SB), RODATA|NOPTR, $16

// The order of the words of both lanes.
DATA words<>+0(SB)/8, $0x0000000100000000
DATA words<>+8(SB)/8, $0x0000000400000002
DATA words<>+16(SB)/8, $0x0000000600000005
DATA words<>+24(SB)/8, $0x0000000700000003
GLOBL words<>(SB), RODATA|NOPTR, $32

DATA constants<>+0(SB)/4, $0x2f2f2f2f
DATA constants<>+4(SB)/4, $0x01400140
DATA constants<>+8(SB)/4, $0x00011000
GLOBL constants<>(SB), RODATA|NOPTR, $12

// func decodeAVX2(dst, src []byte) int
TEXT ·decodeAVX2(SB), NOSPLIT, $0-56
	MOVQ dst_base+0(FP), DI
	MOVQ dst_len+8(FP), CX
	MOVQ src_base+24(FP), SI
	MOVQ src_len+32(FP), DX
	XORQ AX, AX // characters read

	// The last position to read from, and the last to write to.
	SUBQ $32, DX
	JL   return
	SUBQ $32, CX
	JL   return
	ADDQ DI, CX

	VBROADCASTI128 lower<>(SB), Y8
	VBROADCASTI128 upper<>(SB), Y9
	VBROADCASTI128 offset<>(SB), Y10
	VBROADCASTI128 order<>(SB), Y11
	VMOVDQU        words<>(SB), Y12
	VPBROADCASTD   constants<>+0(SB), Y13
	VPBROADCASTD   constants<>+4(SB), Y14
	VPBROADCASTD   constants<>+8(SB), Y15
	VPXOR          Y7, Y7, Y7

block:
	VMOVDQU (SI)(AX*1), Y0

	// The halves. Of the upper, bits 4 and 5 are of another character, and no shuffle reads them.
	VPSRLD  $4, Y0, Y1
	VPAND   Y13, Y1, Y1
	VPAND   Y13, Y0, Y2
	VPSHUFB Y1, Y9, Y3
	VPSHUFB Y2, Y8, Y4
	VPAND   Y3, Y4, Y4

	// Six bits of each.
	VPCMPEQB Y13, Y0, Y5
	VPADDB   Y5, Y1, Y1
	VPSHUFB  Y1, Y10, Y1
	VPADDB   Y1, Y0, Y0

	// Twelve bits of two, 24 of four, and all of them together.
	VPMADDUBSW Y14, Y0, Y0
	VPMADDWD   Y15, Y0, Y0
	VPSHUFB    Y11, Y0, Y0
	VPERMD     Y0, Y12, Y0
	VMOVDQU    Y0, (DI)

	VPTEST Y4, Y4
	JNZ    other
	ADDQ   $32, AX
	ADDQ   $24, DI
	CMPQ   AX, DX
	JGT    end
	CMPQ   DI, CX
	JLE    block
	JMP    end

other:
	// A bit for each character that is of the alphabet. What counts is the first that is not.
	VPCMPEQB  Y7, Y4, Y4
	VPMOVMSKB Y4, CX
	NOTL      CX
	BSFL      CX, CX
	ANDL      $~3, CX
	ADDQ      CX, AX

end:
	VZEROUPPER

return:
	MOVQ AX, ret+48(FP)
	RET
