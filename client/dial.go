package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/pastcone/pastcone/internal/protocol"
)

// helloTimeout is how long a server may take to say welcome.
const helloTimeout = 10 * time.Second

// line is a connection behind its welcome.
type line struct {
	conn    net.Conn
	in      *protocol.Reader
	welcome protocol.Welcome
}

// dial connects to "unix:/path/to/socket", "host:port" or "tls:host:port", and says hello.
func dial(ctx context.Context, address string, access Access, h protocol.Hello) (*line, error) {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	conn, err := access.connect(ctx, address)
	if err != nil {
		return nil, err
	}
	h.Token = protocol.Token(access.Token)
	l := &line{conn: conn, in: protocol.NewReader(conn, protocol.AnswerBytesMax)}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	err = l.hello(h)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("connect to %s: %w", address, err)
	}
	return l, nil
}

func (l *line) hello(h protocol.Hello) error {
	h.Version = protocol.Version
	_, writeErr := l.conn.Write(h.Append(nil))
	// A server that turns us away may have closed the line before our hello, but said why.
	kind, payload, err := l.in.Next()
	switch {
	case err != nil:
		return errors.Join(writeErr, fmt.Errorf("no welcome: %w", err))
	case kind == protocol.KindRefused:
		return refused(payload)
	case kind != protocol.KindWelcome:
		return fmt.Errorf("%w: the server begins with %s", protocol.ErrMalformed, kind)
	}
	if err := l.welcome.Parse(payload); err != nil {
		return err
	}
	if v := l.welcome.Version; v < 1 || v > protocol.Version {
		return fmt.Errorf("the server speaks version %d, this program versions 1 to %d", v, protocol.Version)
	}
	return writeErr
}

// refused makes an error of a refusal's payload.
func refused(payload []byte) error {
	r := &protocol.Refused{}
	if err := r.Parse(payload); err != nil {
		return err
	}
	return r
}
