package es

import "testing"

func TestPace(t *testing.T) {
	p := newPace(4, 4<<20)
	for range 4 {
		if ok, _ := p.begin(); !ok {
			t.Fatal("four requests cannot fly at once")
		}
	}
	ok, wait := p.begin()
	wantEqual(t, "whether a fifth may", ok, false)
	p.end()
	<-wait // which is closed by now
	ok, _ = p.begin()
	wantEqual(t, "whether it may then", ok, true)
	for range 4 {
		p.end()
	}

	p.slower()
	p.slower()
	ok, _ = p.begin()
	wantEqual(t, "the first, of a busy server", ok, true)
	ok, _ = p.begin()
	wantEqual(t, "the second", ok, false)
	wantEqual(t, "the size, while fewer help", p.requestSize(), 4<<20)
	p.slower()
	wantEqual(t, "the size after that", p.requestSize(), 2<<20)
	for range 20 {
		p.slower()
	}
	wantEqual(t, "the smallest", p.requestSize(), smallestRequest)
	for range 200 {
		p.faster()
	}
	wantEqual(t, "the size of a server that recovered", p.requestSize(), 4<<20)
}

func TestPaceTooLarge(t *testing.T) {
	p := newPace(4, 4<<20)
	p.smaller(3 << 20)
	wantEqual(t, "the size", p.requestSize(), 3<<19)
	for range ceilingRest - 1 {
		p.faster()
	}
	wantEqual(t, "the size, for long", p.requestSize(), 3<<19)
	p.faster()
	if got := p.requestSize(); got <= 3<<19 || got >= 3<<20 {
		t.Errorf("the size that is tried then is %d", got)
	}
	p.smaller(1)
	wantEqual(t, "the smallest of all", p.requestSize(), 1)
}
