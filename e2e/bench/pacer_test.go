package main

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestPacer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pacer{rate: 1000}
		began := time.Now()
		for range 11 {
			if !p.admit(t.Context(), 100) {
				t.Fatal("refused")
			}
		}
		if got := time.Since(began); got != time.Second {
			t.Errorf("ten calls of 100 bytes took %s at 1,000 bytes a second", got)
		}
		<-time.After(time.Minute)
		began = time.Now()
		p.admit(t.Context(), 100)
		p.admit(t.Context(), 100)
		if got := time.Since(began); got != 100*time.Millisecond {
			t.Errorf("after a rest two calls took %s: the rest is made up for", got)
		}
	})
}

func TestPacerEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := &pacer{rate: 1, next: time.Now().Add(time.Hour)}
	if p.admit(ctx, 1) {
		t.Error("admitted")
	}
}
