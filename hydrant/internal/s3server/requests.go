package s3server

import (
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v3"
)

const (
	// drainWait is how long requests in progress may take when the server is told to end. It is below the supervisor's
	// stopWait, so that the server ends by itself.
	drainWait = 4 * time.Second
	// linger is for the answers of the last requests to get out.
	linger = 200 * time.Millisecond
	// bodyWait is how long the client may take for the next bytes of a body that the server has no more use for.
	bodyWait = 5 * time.Second
)

// requests wraps every request that versitygw handles: it counts them, and reads what they leave unread.
type requests struct{ open atomic.Int64 }

func (r *requests) handle(c fiber.Ctx) error {
	r.open.Add(1)
	defer r.open.Add(-1)
	err := c.Next()
	readRest(c)
	return err
}

// readRest reads the request's body to its end.
//
// versitygw refuses a put before it has read the body when the object is there already, or the signature is wrong, and
// closes the connection after at most 256 KiB more of it. The client, which is still sending, then sees its connection reset
// instead of the answer: it would take PreconditionFailed, which says that a batch is delivered, for a server in trouble,
// and try again for ever.
func readRest(c fiber.Ctx) {
	body := c.Request().BodyStream()
	// A chunked body cannot be read past its end, and no S3 client sends one: they have to give the length.
	if body == nil || c.Request().Header.ContentLength() <= 0 {
		return
	}
	conn := c.RequestCtx().Conn()
	if _, err := io.Copy(io.Discard, &patient{body: body, conn: conn}); err == nil {
		_ = conn.SetReadDeadline(time.Time{})
	}
}

// patient reads a body for as long as the client goes on sending it. Reading it is only for the client's convenience, so one
// that stops is left alone.
type patient struct {
	body io.Reader
	conn net.Conn
}

func (p *patient) Read(b []byte) (int, error) {
	if err := p.conn.SetReadDeadline(time.Now().Add(bodyWait)); err != nil {
		return 0, err
	}
	return p.body.Read(b)
}

// drain waits, after the server was told to end, for the requests in progress. versitygw itself waits for connections, and
// an HTTP client may hold one that it has never used.
func (r *requests) drain(served <-chan error) error {
	tick := time.NewTicker(linger)
	defer tick.Stop()
	late := time.NewTimer(drainWait)
	defer late.Stop()
	for {
		select {
		case err := <-served:
			return err
		case <-late.C:
			return nil
		case <-tick.C:
			if r.open.Load() == 0 {
				return nil
			}
		}
	}
}
