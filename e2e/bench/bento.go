package main

import (
	"context"

	"hydrant/e2e/bench/internal/report"
)

// bentoRounds compares with Bento on the same work.
func (b *bench) bentoRounds(_ context.Context, row *report.Row, _ *deliveredRun) error {
	if b.bento == "" {
		row.Note("Bento's was not measured: build e2e/bench/bento and name the program with -bento")
	}
	return nil
}
