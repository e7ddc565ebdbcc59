//go:build toolsonly

package main

const ofServers = ""

// servers are left out of a program that is only for looking at an installation, and for redrive: it is half as large.
type servers struct{}
