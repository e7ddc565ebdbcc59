//go:build !faults

// Package faultpoint marks the places where the fault tests kill or stop a process. In a build without the tag "faults"
// a mark is nothing at all.
package faultpoint

// Hit marks the place called name.
func Hit(string) {}
