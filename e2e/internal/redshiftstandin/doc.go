// Package redshiftstandin stands in for Amazon Redshift where there is none, which is everywhere but in AWS. It is not Redshift: it
// is a proxy of PostgreSQL's protocol in front of a real PostgreSQL. What a client sends goes to PostgreSQL as it is, but for
// what Redshift does otherwise and a loader of data depends on: COPY from S3 with Redshift's errors and system tables, keys that
// are not enforced, and snapshots. DESIGN.md, beside this file, says what is imitated, what is not, and what is guessed.
//
// It promises that a COPY is a part of the client's own transaction: its rows are committed with all else that the transaction
// did, or not at all, whatever dies meanwhile.
package redshiftstandin
