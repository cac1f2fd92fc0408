package client_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/pastcone/pastcone/client"
	"github.com/pastcone/pastcone/internal/access/accesstest"
)

const secret = "pct_7wc95ket_cwahzfsji2aprya6q6397qa4m8i7npugfxh8twpa7sez6mgz8d6a"

// What a client shows comes from variables and files, never from a command line; and never shows itself.
func TestAccess_FromTheEnvironment(t *testing.T) {
	a := accesstest.NewAuthority(t)
	cert, key := a.Issue("me", "read")
	put := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := put("token", secret+"\n")
	for name, c := range map[string]struct {
		env  map[string]string
		says string // "": it is fine
		tls  bool
	}{
		"nothing":                     {nil, "", false},
		"a token":                     {map[string]string{EnvToken: secret}, "", false},
		"a file":                      {map[string]string{EnvTokenFile: good}, "", false},
		"both":                        {map[string]string{EnvTokenFile: good, EnvToken: secret}, "both set", false},
		"a file that is not there":    {map[string]string{EnvTokenFile: good + "x"}, "no such file", false},
		"a file of something else":    {map[string]string{EnvTokenFile: put("x", secret+" "+secret)}, "nothing else", false},
		"an empty file":               {map[string]string{EnvTokenFile: put("y", "\n")}, "nothing else", false},
		"a huge file":                 {map[string]string{EnvTokenFile: put("z", strings.Repeat("x", 1<<20))}, "nothing else", false},
		"a token that is too long":    {map[string]string{EnvToken: strings.Repeat("x", 300)}, "300 bytes", false},
		"an authority":                {map[string]string{EnvCA: a.File}, "", true},
		"an authority and our own":    {map[string]string{EnvCA: a.File, EnvCert: cert, EnvKey: key}, "", true},
		"a certificate without a key": {map[string]string{EnvCert: cert}, "go together", false},
		"an authority that is none":   {map[string]string{EnvCA: key}, "no certificate", false},
		"one that is not there":       {map[string]string{EnvCA: key + "x"}, "no such file", false},
		"a certificate that is none":  {map[string]string{EnvCert: key, EnvKey: key}, "certificate", false},
	} {
		for _, variable := range []string{EnvToken, EnvTokenFile, EnvCA, EnvCert, EnvKey} {
			t.Setenv(variable, c.env[variable])
		}
		got, err := AccessFromEnvironment()
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) || (got.TLS != nil) != c.tls {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		if shown := fmt.Sprintf("%v %+v %#v %s %v", got, got, got, got, err); strings.Contains(shown, "cwahzfsji") {
			t.Errorf("%s: the token shows: %s", name, shown)
		}
	}
}

// A token does not leave the machine in the clear.
func TestAccess_ATokenIsNotSentToAnotherMachineWithoutTLS(t *testing.T) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		ip, ok := a.(*net.IPNet)
		if !ok || ip.IP.IsLoopback() || ip.IP.To4() == nil {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort(ip.IP.String(), "0")) // an address of this machine that is not loopback
		if err != nil {
			continue
		}
		got := make(chan int, 1)
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			n, _ := conn.Read(make([]byte, 1024))
			_ = conn.Close()
			got <- n
		}()
		_, err = AskAs(context.Background(), l.Addr().String(), Access{Token: secret})
		if err == nil || !strings.Contains(err.Error(), "not sent without TLS") || strings.Contains(err.Error(), secret) {
			t.Errorf("%v", err)
		}
		if n := <-got; n != 0 {
			t.Errorf("%d bytes were sent", n)
		}
		_ = l.Close()
		return
	}
	t.Skip("this machine has no address but loopback")
}
