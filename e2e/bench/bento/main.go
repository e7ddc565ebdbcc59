// Command bento is a Bento with only the components that the benchmark's peer needs: the services that Hydrant is measured
// beside are built from the sources of their release, with the same compiler, on the same machine.
//
// It is a module of its own so that none of Bento's dependencies is one of Hydrant's. README.md says which configuration does
// what.
package main

import (
	"context"

	_ "github.com/warpstreamlabs/bento/public/components/aws"
	_ "github.com/warpstreamlabs/bento/public/components/io"
	_ "github.com/warpstreamlabs/bento/public/components/nats"
	_ "github.com/warpstreamlabs/bento/public/components/pure"
	"github.com/warpstreamlabs/bento/public/service"
)

func main() { service.RunCLI(context.Background()) }
