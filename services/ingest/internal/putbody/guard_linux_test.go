package putbody

import (
	"bytes"
	"encoding/base64"
	"syscall"
	"testing"
)

// beforeTheEdge returns memory whose next byte nobody may touch.
func beforeTheEdge(t *testing.T, size int) []byte {
	t.Helper()
	page := syscall.Getpagesize()
	memory, err := syscall.Mmap(-1, 0, 2*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Munmap(memory); err != nil {
			t.Error(err)
		}
	})
	if err := syscall.Mprotect(memory[page:], syscall.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	return memory[page-size : page : page]
}

// TestScanStaysInside reads bodies of every length that end where memory ends, to room that does. A byte further is a crash.
func TestScanStaysInside(t *testing.T) {
	bodyRoom, dataRoom := beforeTheEdge(t, 1024), beforeTheEdge(t, 1024)
	lengths := make([]int, 0, 1)
	for size := range 300 {
		want := bytes.Repeat([]byte{'x'}, size)
		for _, text := range []string{
			`{"DeliveryStreamName":"s","Record":{"Data":"` + base64.StdEncoding.EncodeToString(want) + `"}}`,
			`{"Record":{"Data":"` + base64.StdEncoding.EncodeToString(want) + `"},"DeliveryStreamName":"s"}`,
		} {
			body := bodyRoom[len(bodyRoom)-len(text):]
			copy(body, text)
			data := dataRoom[len(dataRoom)-base64.StdEncoding.DecodedLen(len(body)):]
			in, ok := Scan(body, data, lengths, false)
			if !ok || !bytes.Equal(in.Data, want) {
				t.Fatalf("%s: %t, %q", text, ok, in.Data)
			}
			for cut := range body {
				if _, ok := Scan(body[:cut:cut], data, lengths, false); ok {
					t.Fatalf("%s is taken for a put", body[:cut])
				}
				if _, ok := Scan(body[cut:], data, lengths, false); ok && cut > 0 {
					t.Fatalf("%s is taken for a put", body[cut:])
				}
			}
		}
	}
}
