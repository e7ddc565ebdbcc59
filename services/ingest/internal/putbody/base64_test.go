package putbody

import (
	"bytes"
	"encoding/base64"
	"math/rand/v2"
	"strings"
	"testing"
)

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// checkDecode compares decode with the package base64, in memory where a byte too far shows.
func checkDecode(t *testing.T, text []byte, room int) {
	t.Helper()
	groups := len(text) - len(strings.TrimLeft(string(text), alphabet))
	groups = min(groups/4, room/3)
	want, err := base64.StdEncoding.DecodeString(string(text[:groups*4]))
	if err != nil {
		t.Fatal(err)
	}
	dst := bytes.Repeat([]byte{0xA5}, room+64)
	if n := decode(dst[:room:room], text); n != groups*4 || !bytes.Equal(dst[:len(want)], want) {
		t.Fatalf("%q to %d bytes: %d characters are %q; want %d, %q", text, room, n, dst[:len(want)], groups*4, want)
	}
	if bytes.Count(dst[room:], []byte{0xA5}) != 64 {
		t.Fatalf("%q: wrote beyond %d bytes", text, room)
	}
}

// TestDecodeEachByte has each byte at each place of texts that end within and between blocks.
func TestDecodeEachByte(t *testing.T) {
	for _, size := range []int{4, 31, 32, 33, 64, 100} {
		text := []byte(strings.Repeat(alphabet, 2)[:size])
		for at := range text {
			was := text[at]
			for c := range 256 {
				text[at] = byte(c)
				checkDecode(t, text, size)
			}
			text[at] = was
		}
	}
}

func TestDecodeEachGroup(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	text := make([]byte, 128)
	for range 20_000 {
		for i := range text {
			text[i] = alphabet[random.IntN(64)]
		}
		checkDecode(t, text, 96+random.IntN(40))
	}
}

// TestDecodeToLittleRoom ends where there is no room for more.
func TestDecodeToLittleRoom(t *testing.T) {
	text := strings.Repeat(alphabet, 3)
	for size := range len(text) {
		for room := range 150 {
			checkDecode(t, []byte(text[:size]), room)
		}
	}
}

func TestDecodePadded(t *testing.T) {
	var dst [2]byte
	for c := range 256 {
		for _, text := range []string{"A?==", "?A==", "AA?=", "A?A=", "AA=?", "A=?=", "====", "A===", "?=A="} {
			src := []byte(strings.ReplaceAll(text, "?", string([]byte{byte(c)})))
			want, err := base64.StdEncoding.DecodeString(string(src))
			good := err == nil && src[3] == '=' && !bytes.ContainsAny(src, "\r\n")
			if n, ok := decodePadded(dst[:], src); ok != good || ok && string(dst[:n]) != string(want) {
				t.Errorf("%q: %t, %q; want %q, %v", src, ok, dst[:n], want, err)
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, size := range []int{0, 3, 4, 31, 32, 64, 65, 200} {
		text := strings.Repeat(alphabet, 4)[:size]
		f.Add([]byte(text), uint(size))
		f.Add([]byte(text+`"},{"Data":"`), uint(size+32))
	}
	f.Fuzz(func(t *testing.T, text []byte, room uint) {
		checkDecode(t, text, int(room%(1<<16)))
	})
}
