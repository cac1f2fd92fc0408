package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pastcone/pastcone/client"
	"github.com/pastcone/pastcone/internal/access"
	"github.com/pastcone/pastcone/internal/config"
)

func newToken(s *screen) *cobra.Command {
	c := &cobra.Command{
		Use:   "token",
		Short: "Make, list and revoke the tokens that let clients in at a server",
		Long: `A server with --server-tokens FILE lets in who has a token of that file. The file has no token itself but its SHA-256, beside its
roles: write (send events), read (ask, and see the metrics), admin (all of it, and profiles and settings). A running server
sees within a second what is added or revoked.

Clients take theirs from the file that PASTCONE_TOKEN_FILE names, or from PASTCONE_TOKEN; never from the command line, which
all users of a machine can see.`,
		Example: `  pastcone token new --tokens tokens --role write --name billing > billing.token
  pastcone token list --tokens tokens
  pastcone token revoke --tokens tokens billing`,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("there is no command token %q: there are new, list and revoke", args[0])
			}
			return c.Help()
		},
	}
	c.AddCommand(newTokenNew(s), newTokenList(s), newTokenRevoke(s))
	return c
}

// tokensFile binds --tokens, and the settings that can name the file as well.
func tokensFile(c *cobra.Command) func() (string, error) {
	from := &settings{}
	from.bind(c)
	config.BindFlag(c.Flags(), "tokens", "server.tokens")
	return func() (string, error) {
		set, err := from.load()
		if err == nil && set.Server.Tokens == "" {
			return "", usagef("which file? give --tokens FILE, or set server.tokens")
		}
		if err != nil {
			return "", err
		}
		return set.Server.Tokens, nil
	}
}

func newTokenNew(s *screen) *cobra.Command {
	var name string
	var roles []string
	var expires time.Duration
	c := &cobra.Command{
		Use:     "new",
		Short:   "Make a token, and show it this once",
		Example: "  pastcone token new --tokens tokens --role write --name billing > billing.token\n  pastcone token new --tokens tokens --role read,admin --expires 720h",
		Args:    arguments(0, 0),
	}
	path := tokensFile(c)
	c.Flags().StringSliceVar(&roles, "role", nil, "what it opens: write, read, admin; several with commas between")
	c.Flags().StringVar(&name, "name", "", "what it is called, for people and logs")
	c.Flags().DurationVar(&expires, "expires", 0, "it is good for so long; 0: until it is revoked")
	c.RunE = func(*cobra.Command, []string) error {
		file, err := path()
		if err != nil {
			return err
		}
		granted, err := access.ParseRoles(roles)
		if err != nil || expires < 0 {
			return usagef("--role, --expires: %w", firstError(err, "a time before now"))
		}
		until := time.Time{}
		if expires > 0 {
			until = time.Now().UTC().Add(expires).Truncate(time.Second)
		}
		text, t, err := access.New(file, name, granted, until)
		if err != nil {
			return err
		}
		if s.json {
			return json.NewEncoder(s.out).Encode(tokenJSON(&t, text))
		}
		fmt.Fprintln(s.out, text)
		fmt.Fprintf(s.err, "token %s (%s) is in %s; keep what is printed: it is shown this once\n", t.ID, t.Roles, file)
		return nil
	}
	return c
}

func firstError(err error, otherwise string) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("%s", otherwise)
}

// tokenLine is a token in JSON; the text of it only where it is made.
type tokenLine struct {
	ID      string   `json:"id"`
	Name    string   `json:"name,omitempty"`
	Roles   []string `json:"roles"`
	Created string   `json:"created"`
	Expires string   `json:"expires,omitempty"`
	Revoked string   `json:"revoked,omitempty"`
	Good    bool     `json:"good"`
	Token   string   `json:"token,omitempty"`
}

func tokenJSON(t *access.Token, text string) tokenLine {
	at := func(x time.Time) string {
		if x.IsZero() {
			return ""
		}
		return x.Format(time.RFC3339)
	}
	return tokenLine{t.ID, t.Name, t.Roles.Names(), at(t.Created), at(t.Expires), at(t.Revoked), t.Good(time.Now()), text}
}

func newTokenList(s *screen) *cobra.Command {
	c := &cobra.Command{
		Use: "list", Short: "List the tokens of a file: never what they are", Args: arguments(0, 0),
		Example: "  pastcone token list --tokens tokens",
	}
	path := tokensFile(c)
	c.RunE = func(*cobra.Command, []string) error {
		file, err := path()
		if err != nil {
			return err
		}
		all, err := access.List(file)
		if err != nil {
			return err
		}
		for i := range all {
			t := tokenJSON(&all[i], "")
			if s.json {
				if err := json.NewEncoder(s.out).Encode(t); err != nil {
					return err
				}
				continue
			}
			state := "good"
			switch {
			case t.Revoked != "":
				state = "revoked " + t.Revoked
			case !t.Good:
				state = "expired " + t.Expires
			case t.Expires != "":
				state = "good until " + t.Expires
			}
			fmt.Fprintf(s.out, "%s  %-16s %-20s made %s  %s\n", t.ID, strings.Join(t.Roles, ","), t.Name, t.Created, state)
		}
		return nil
	}
	return c
}

func newTokenRevoke(s *screen) *cobra.Command {
	c := &cobra.Command{
		Use: "revoke ID|NAME", Short: "Revoke a token", Args: arguments(1, 1),
		Long:    "Revokes a token, by its id or by its name. A running server sees it within a second: what the token has let in is closed at its next frame.",
		Example: "  pastcone token revoke --tokens tokens billing",
	}
	path := tokensFile(c)
	c.RunE = func(_ *cobra.Command, args []string) error {
		file, err := path()
		if err != nil {
			return err
		}
		t, err := access.Revoke(file, args[0])
		if err != nil {
			return err
		}
		fmt.Fprintf(s.err, "token %s is revoked\n", t.ID)
		return nil
	}
	return c
}

// accessVariables are those that tell a client's token and TLS; they are no settings.
var accessVariables = []string{client.EnvToken, client.EnvTokenFile, client.EnvCA, client.EnvCert, client.EnvKey}

// showing gives what a client command shows at a server.
func showing() (client.Access, error) {
	a, err := client.AccessFromEnvironment()
	if err != nil {
		return a, usageError{err}
	}
	return a, nil
}
